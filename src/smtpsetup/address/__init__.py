"""Mail addresses and host names."""
