"""The relay: a submission server that lends the account to programs which cannot sign in themselves."""
