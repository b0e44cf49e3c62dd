"""Streams and line wrapping."""
