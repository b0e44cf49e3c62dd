"""Accepting a mail from another program."""
