"""The proxies of the tests do what their RFCs say."""

from __future__ import annotations

import base64
import http.client
import socket
import ssl
from typing import TYPE_CHECKING

from tests.proxies import ConnectProxy, SocksProxy

if TYPE_CHECKING:
    from tests.graph_server import GraphServer


def test_proxies_connect_and_refuse_as_they_are_told(graph_server: GraphServer) -> None:
    target = graph_server.ports[0].port
    names = {"graph.test": target}

    def through(proxy: SocksProxy | ConnectProxy, *parts: bytes) -> list[bytes]:
        answers = []
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=10) as client:
            for part in parts:
                client.sendall(part)
                answers.append(client.recv(1000))
        return answers

    login = b"\x01\x02me\x06secret"
    name = b"\x05\x01\x00\x03\x0agraph.test" + (443).to_bytes(2, "big")
    with SocksProxy(names) as socks, SocksProxy(names, user="me", password="secret", reply=2) as strict:
        assert through(socks, b"\x05\x01\x00", name) == [b"\x05\x00", b"\x05\x00\x00\x01" + bytes(6)]
        assert through(strict, b"\x05\x01\x00") == [b"\x05\xff"]
        answers = through(strict, b"\x05\x02\x00\x02", login, name)
        assert answers == [b"\x05\x02", b"\x01\x00", b"\x05\x02\x00\x01" + bytes(6)]
        assert [(request.address_type, request.host, request.port) for request in socks.requests] == [
            ("name", "graph.test", 443)
        ]
    connect = b"CONNECT graph.test:443 HTTP/1.1\r\nHost: graph.test:443\r\n\r\n"
    with ConnectProxy(names) as proxy, ConnectProxy(names, user="me", password="secret") as strict_proxy:
        assert through(proxy, connect) == [b"HTTP/1.1 200 Connection established\r\n\r\n"]
        assert through(proxy, connect.replace(b"graph", b"other"))[0].startswith(b"HTTP/1.1 502")
        basic = b"Proxy-Authorization: Basic " + base64.b64encode(b"me:secret") + b"\r\n\r\n"
        answers = through(strict_proxy, connect, connect.removesuffix(b"\r\n") + basic)
        assert [answer[:12] for answer in answers] == [b"HTTP/1.1 407", b"HTTP/1.1 200"]
    with ConnectProxy(names, garbage=b"SSH-2.0-x\r\n") as proxy:
        assert through(proxy, connect) == [b"SSH-2.0-x\r\n"]


def test_https_goes_through_both_proxies(graph_server: GraphServer) -> None:
    names = {"localhost": graph_server.ports[0].port}
    context = ssl.create_default_context(cafile=graph_server.ca_file)
    with ConnectProxy(names) as proxy, SocksProxy(names) as socks:
        connection = http.client.HTTPSConnection("127.0.0.1", proxy.port, context=context, timeout=10)
        connection.set_tunnel("localhost", 443)
        connection.request("GET", "/elsewhere")
        assert connection.getresponse().read()
        connection.close()
        with socket.create_connection(("127.0.0.1", socks.port), timeout=10) as client:
            client.sendall(b"\x05\x01\x00")
            assert client.recv(2) == b"\x05\x00"
            client.sendall(b"\x05\x01\x00\x03\x09localhost" + (443).to_bytes(2, "big"))
            assert client.recv(10)[1] == 0
            with context.wrap_socket(client, server_hostname="localhost") as tls:
                tls.sendall(b"GET /elsewhere HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                assert tls.recv(20).startswith(b"HTTP/1.1 200")
    assert (proxy.requests[0].target, len(graph_server.elsewhere)) == ("localhost:443", 2)
