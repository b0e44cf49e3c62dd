"""Talking SMTP in stages."""
