"""Types, errors and language: what everything may use."""
