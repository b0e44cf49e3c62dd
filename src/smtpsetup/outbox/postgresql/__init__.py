"""The outbox that several machines share, in PostgreSQL."""
