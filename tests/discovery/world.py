"""A small internet in a network namespace.

NSD with a root zone, web servers and submission servers that behave as planned.

Run inside `unshare --net --mount`; it reads DIRECTORY/world.json (see `world` in plan.py) and serves until its standard
input ends.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import trustme

_CERTIFICATE_LOCK = threading.Lock()


class Authority:
    """Makes certificates by the name that a client asks for, good or bad ones."""

    def __init__(self, directory: Path) -> None:
        self._good = trustme.CA()
        self._unknown = trustme.CA()
        self._good.cert_pem.write_to_path(str(directory / "ca.pem"))
        self._contexts: dict[tuple[str, str], ssl.SSLContext] = {}

    def server_context(self, kinds: dict[str, str], default: str) -> ssl.SSLContext:
        """A context that picks the certificate by SNI; `kinds` says for which names it is a bad one."""
        outer = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)

        def choose(sock: ssl.SSLObject, name: str | None, _outer: ssl.SSLContext) -> None:
            sock.context = self._context(name or "nameless.example", kinds.get(name or "", default))

        outer.sni_callback = choose
        return outer

    def _context(self, name: str, kind: str) -> ssl.SSLContext:
        with _CERTIFICATE_LOCK:
            if (name, kind) not in self._contexts:
                authority = self._unknown if kind == "unknown-ca" else self._good
                past = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=3)
                expiry = past if kind == "expired" else None
                leaf = authority.issue_cert("another-name.example" if kind == "wrong-name" else name, not_after=expiry)
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                leaf.configure_cert(context)
                self._contexts[name, kind] = context
            return self._contexts[name, kind]


class Log:
    """What clients said, one line each, for the tests to read."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", buffering=1, encoding="utf-8")

    def add(self, line: str) -> None:
        self._file.write(line.replace("\r", "").replace("\n", " | ") + "\n")


def serve(address: str, port: int, talk: Any) -> None:
    """Accept connections until the process ends, each in a thread of its own."""
    listener = socket.create_server((address, port), backlog=64)

    def client(sock: socket.socket) -> None:
        with contextlib.suppress(OSError, ssl.SSLError, ValueError), sock:
            talk(sock)

    def loop() -> None:
        while True:
            sock, _peer = listener.accept()
            threading.Thread(target=client, args=(sock,), daemon=True).start()

    threading.Thread(target=loop, daemon=True).start()


def https(world: dict[str, Any], authority: Authority, log: Log) -> Any:
    """The web servers of every host, by name."""
    context = authority.server_context(world["certificates"], "good")

    def talk(sock: socket.socket) -> None:
        with context.wrap_socket(sock, server_side=True) as secured:
            head = b""
            while b"\r\n\r\n" not in head:
                data = secured.recv(65536)
                if not data:
                    return
                head += data
            _method, target, _version = head.split(b"\r\n", 1)[0].decode().split(" ")
            found = re.search(rb"(?im)^host: *([^\r\n]*)", head)
            host = found[1].decode() if found else ""
            log.add(f"https {host}{target}")
            time.sleep(world["delay"])  # what bench/discovery.py adds to every answer
            answer(secured, host, target)

    def answer(secured: ssl.SSLSocket, host: str, target: str) -> None:
        path = target.partition("?")[0]
        page = world["pages"].get(host, {}).get(path) or world["pages"].get(host, {}).get("*") or {"status": 404}
        if page.get("needs_address") and "emailaddress=" not in target:
            page = {"status": 400}
        if page.get("silent"):
            secured.recv(1)
            return
        body = page.get("body", "").encode("latin-1") if page.get("latin") else page.get("body", "").encode()
        body += b" " * page.get("padding", 0)
        lines = [f"HTTP/1.1 {page.get('status', 200)} .", f"Content-Length: {len(body)}", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in page.get("headers", {}).items()]
        secured.sendall("\r\n".join([*lines, "", ""]).encode())
        if page.get("drip"):
            for byte in body:
                secured.sendall(bytes([byte]))
                time.sleep(0.3)  # a body that arrives byte by byte
        else:
            secured.sendall(body)

    return talk


def clear_web(log: Log) -> Any:
    """A web server without TLS, which must get no request."""

    def talk(sock: socket.socket) -> None:
        log.add(f"http {sock.recv(65536).decode('latin-1')}")

    return talk


def proxy(log: Log) -> Any:
    """An HTTP proxy that connects to whatever is asked for."""

    def talk(sock: socket.socket) -> None:
        head = sock.recv(65536).decode("latin-1")
        log.add(f"proxy {head}")
        host, _colon, port = head.split(" ")[1].rpartition(":")
        with socket.create_connection((host, int(port))) as upstream:
            sock.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=pump, args=(upstream, sock), daemon=True)
            back.start()
            pump(sock, upstream)
            back.join()

    def pump(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    return talk


class Smtp:
    """A submission server that behaves as `persona` says."""

    def __init__(self, persona: dict[str, Any], port: int, authority: Authority, log: Log) -> None:
        self._persona = persona
        self._port = port
        self._context = authority.server_context({}, persona.get("certificate", "good"))
        self._log = log

    def talk(self, sock: socket.socket) -> None:
        if self._persona.get("silent"):
            sock.recv(1)
            return
        time.sleep(self._persona.get("slow", 0))  # a server that answers later than a likelier one
        if self._port == 465:
            with self._context.wrap_socket(sock, server_side=True) as secured:
                self._session(secured, is_secure=True)
        else:
            self._session(sock, is_secure=False)

    def _session(self, sock: socket.socket, *, is_secure: bool, greets: bool = True) -> None:
        lines = sock.makefile("rb")
        where = f"smtp {sock.getsockname()[0]}:{self._port}"

        def say(*replies: str) -> None:
            sock.sendall("".join(f"{reply}\r\n" for reply in replies).encode())

        if greets:
            say("220 mail.example ESMTP")
        while line := lines.readline().decode("utf-8", "replace").strip():
            self._log.add(f"{where} {line}")
            verb = line.split(" ")[0].upper()
            if verb == "EHLO":
                offers = ["250-mail.example", "250-SIZE 50000000"]
                if not is_secure and not self._persona.get("no_starttls"):
                    offers.append("250-STARTTLS")
                if self._persona.get("auth", "PLAIN LOGIN") and (is_secure or self._persona.get("auth_in_clear")):
                    offers.append(f"250-AUTH {self._persona.get('auth', 'PLAIN LOGIN')}")
                say(*offers, "250 8BITMIME")
            elif verb == "STARTTLS" and not self._persona.get("no_starttls"):
                say("220 go ahead")
                with self._context.wrap_socket(sock, server_side=True) as secured:
                    self._session(secured, is_secure=True, greets=False)
                return
            elif verb == "AUTH":
                say("235 welcome" if self._persona.get("password_ok", True) else "535 5.7.8 no")
            elif verb == "QUIT":
                say("221 bye")
                return
            else:
                say("250 ok")


def name_server_front(address: str, delay: float, behaviour: dict[str, str]) -> None:
    """A name server that forwards to NSD with a delay, and fails for the names below those of `behaviour`."""
    import dns.message
    import dns.rcode

    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind((address, 53))

    def answer(data: bytes, peer: Any) -> None:
        query = dns.message.from_wire(data)
        name = query.question[0].name.to_text(omit_final_dot=True)
        kind = next((kind for ending, kind in behaviour.items() if name == ending or name.endswith("." + ending)), "")
        if kind == "silent":
            return
        time.sleep(delay)  # as for the web servers
        if kind in ("SERVFAIL", "REFUSED"):
            response = dns.message.make_response(query)
            response.set_rcode(dns.rcode.from_text(kind))
            udp.sendto(response.to_wire(), peer)
            return
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as upstream:
            upstream.sendto(data, ("127.0.0.1", 53))
            udp.sendto(upstream.recv(65535), peer)

    def loop() -> None:
        while True:
            data, peer = udp.recvfrom(65535)
            threading.Thread(target=answer, args=(data, peer), daemon=True).start()

    threading.Thread(target=loop, daemon=True).start()


_NSD = """
server:
  ip-address: 127.0.0.1
  do-ip6: no
  username: ""
  zonesdir: "{directory}"
  pidfile: "{directory}/nsd.pid"
  xfrdfile: "{directory}/xfrd.state"
  zonelistfile: "{directory}/zone.list"
  logfile: "{directory}/nsd.log"
  rrl-ratelimit: 0
  rrl-whitelist-ratelimit: 0
remote-control:
  control-enable: no
zone:
  name: "."
  zonefile: "root.zone"
zone:
  name: "servfail.se"
  zonefile: "there-is-none.zone"
"""


def start_nsd(directory: Path, zone: str) -> subprocess.Popen[bytes]:
    """NSD with a root zone, and one zone that it cannot load."""
    (directory / "root.zone").write_text(zone, encoding="ascii")
    (directory / "nsd.conf").write_text(_NSD.format(directory=directory), encoding="ascii")
    return subprocess.Popen(["nsd", "-d", "-c", str(directory / "nsd.conf")], stdin=subprocess.DEVNULL)


def main() -> None:
    """Build the world and serve it."""
    directory = Path(sys.argv[1])
    world = json.loads((directory / "world.json").read_text(encoding="utf-8"))
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for address in sorted({*world["web"], *world["silent"], *world["empty"], *world["smtp"]}):
        subprocess.run(["ip", "address", "add", f"{address}/32", "dev", "lo"], check=True)
    resolv = directory / "resolv.conf"
    resolv.write_text(f"nameserver {world['nameserver']}\n", encoding="ascii")
    subprocess.run(["mount", "--bind", str(resolv), "/etc/resolv.conf"], check=True)
    nsd = start_nsd(directory, world["zone"])
    authority = Authority(directory)
    log = Log(directory / "log")
    for address in world["web"]:
        serve(address, 443, https(world, authority, log))
        serve(address, 80, clear_web(log))
        serve(address, 3128, proxy(log))
    for address in world["silent"]:
        serve(address, 443, lambda sock: sock.recv(65536) and sock.recv(1))
    for address, persona in world["smtp"].items():
        for port in persona.get("ports", [465, 587]):
            serve(address, port, Smtp(persona, port, authority, log).talk)
    name_server_front("127.0.0.2", world["delay"], world["dns_behaviour"])
    for _attempt in range(200):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
            if sock.connect_ex(("127.0.0.1", 53)) == 0:
                break
        time.sleep(0.05)  # only its port shows that NSD is ready
    sys.stdout.write(f"ready {os.getpid()}\n")
    sys.stdout.flush()
    sys.stdin.read()
    nsd.terminate()
    nsd.wait(10)


if __name__ == "__main__":
    main()
