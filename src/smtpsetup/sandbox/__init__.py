"""A local SMTP server that catches mail, for trials and tests."""
