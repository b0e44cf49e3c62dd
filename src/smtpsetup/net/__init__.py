"""Sockets, TLS, HTTPS and DNS, each with a deadline."""
