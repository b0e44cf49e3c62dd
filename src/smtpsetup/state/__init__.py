"""Files that are kept between runs, locks, and signals that end the process."""
