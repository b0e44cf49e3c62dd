"""Taking over a mail that another program wrote."""
