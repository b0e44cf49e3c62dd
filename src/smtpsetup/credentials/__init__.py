"""Secrets: `stores` finds the store that an account names; each store has a module of its own."""
