"""Building mail, and repairing what other programs wrote."""
