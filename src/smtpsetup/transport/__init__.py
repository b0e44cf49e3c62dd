"""Talking SMTP in stages; the only floor that imports smtplib."""
