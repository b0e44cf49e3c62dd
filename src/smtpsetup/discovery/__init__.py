"""Finding out who runs the mail of a domain that the table does not know: every source side by side, each answer with what vouches for it."""
