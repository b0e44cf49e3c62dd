"""Fuzzing: targets, a corpus for each, and what runs them."""
