"""Signing in with OAuth2: requests to the provider's endpoints, the two ways to sign in, and keeping tokens fresh."""
