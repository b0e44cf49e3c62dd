"""Send mail from your own address: find the server, prove the settings, send from scripts."""

__version__ = "0.1.0"
