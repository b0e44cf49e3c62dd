"""Finding out who runs the mail of a domain that the table does not know."""
