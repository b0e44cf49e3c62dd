"""Preparing an account and looking after it."""
