"""From a row of the table of providers to settings."""
