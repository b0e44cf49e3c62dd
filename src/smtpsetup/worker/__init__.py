"""Sending what is in the outbox for as long as it is told: for `outbox work` and the relay."""
