"""Sending: one mail, many mails, and what waits in the outbox."""
