"""The SMTP client: command lines, login, transactions, sessions."""
