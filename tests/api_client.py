"""Connections to the fake APIs, by Python's own HTTP."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import urllib.parse
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.api_servers import ApiServer
    from tests.oauth_servers import OAuthServer


class Client:
    """A kept-alive connection to a fake."""

    def __init__(self, url: str, ca_file: str, token: str = "good") -> None:
        context = ssl.create_default_context(cafile=ca_file)
        self.connection = http.client.HTTPSConnection(urllib.parse.urlsplit(url).netloc, context=context, timeout=20)
        self.base = urllib.parse.urlsplit(url).path
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, Any, dict[str, str]]:
        """Status, body (JSON, text, or None if it is empty), and header."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            self.connection.request(method, f"{self.base}{path}", body, {**self.headers, **given})
            response = self.connection.getresponse()
            content = response.read()
        except OSError:
            self.connection.close()  # the next request opens it again
            raise
        is_json = "json" in response.headers.get("Content-Type", "")
        return response.status, json.loads(content) if is_json else content or None, dict(response.headers)

    def mime(self, path: str, message: bytes) -> tuple[int, str]:
        """Status and error code of a request with MIME."""
        status, body, _headers = self.ask("POST", path, base64.encodebytes(message), Content_Type="text/plain")
        return status, body["error"]["code"] if isinstance(body, dict) and "error" in body else ""


class Connect:
    """Makes connections."""

    def __init__(self) -> None:
        self.made: list[Client] = []

    def __call__(self, server: ApiServer | OAuthServer, url: str, token: str = "good") -> Client:
        self.made.append(Client(url, server.ca_file, token))
        return self.made[-1]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """What makes connections, which are closed at the end."""
    made = Connect()
    yield made
    for client in made.made:
        client.connection.close()
