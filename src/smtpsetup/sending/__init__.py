"""Getting mail out: one, many, what waits in the outbox."""
