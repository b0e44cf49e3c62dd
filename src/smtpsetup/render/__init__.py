"""Results for people (rich) and for programs (JSON)."""
