"""Mail that waits: accepted from the user and not yet accepted by a server."""
