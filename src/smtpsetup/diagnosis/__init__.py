"""From a failure to an explanation."""
