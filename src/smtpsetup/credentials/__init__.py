"""Secrets: one module a store, and `stores`, which finds the one that an account names."""
