"""Accounts, and where files are."""
