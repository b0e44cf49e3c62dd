"""Send mail from your own address: find the server, prove the settings, send from scripts."""

__version__ = "0.1.0"
# [[[cog import generated; cog.out(generated.documentation_address()) ]]]
DOCUMENTATION = "https://smtpsetup.example/docs"
# [[[end]]] written by `make docs`
"""Where the documents are, without a slash at the end; from `[project.urls]` in pyproject.toml by `make docs`."""
