"""Standard streams and line wrapping."""
