"""A local SMTP server that catches mail, for trying things out and for the tests."""
