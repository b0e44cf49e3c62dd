"""The provider table, and settings from its rows."""
