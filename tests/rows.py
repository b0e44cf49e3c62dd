"""Rows of a provider table, for providers that are servers on this machine."""

from __future__ import annotations

_ROW = """
[[provider]]
id = "{row_id}"
name = "{name}"
domains = ["{domain}"]
mx_suffixes = []
status = "ok"
servers = [{{ host = "localhost", port = {port}, security = "tls" }}]
auth = ["{auth}"]
docs_url = ""
confidence = "high"
sources = [{{ at = "https://example.com", date = 2026-10-01 }}]

[provider.username]
form = "address"
"""


def provider_row(row_id: str, name: str, domain: str, *, port: int, auth: str = "password") -> str:
    """A row that has this domain and the server at this port, as TOML."""
    return _ROW.format(row_id=row_id, name=name, domain=domain, port=port, auth=auth)
