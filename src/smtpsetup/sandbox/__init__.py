"""Local SMTP servers for trials and tests: one catches mail, the other fails on purpose."""
