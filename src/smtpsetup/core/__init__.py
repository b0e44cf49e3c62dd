"""Types, errors and translation, for every other package."""
