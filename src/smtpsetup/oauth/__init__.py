"""Signing in with OAuth2, and its tokens."""
