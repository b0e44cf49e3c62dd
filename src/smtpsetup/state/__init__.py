"""Files that last between runs; locks, and what puts off the end of the process."""
