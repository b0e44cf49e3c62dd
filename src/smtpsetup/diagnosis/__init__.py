"""The explanation of a failure: its error code, causes and hints."""
