"""A server with a fault, on the sandbox's two ports. It works up to the fault and accepts any login."""

from __future__ import annotations

import contextlib
import datetime
import json
import socket
import ssl
import tempfile
import threading
import warnings
from typing import TYPE_CHECKING

import trustme

from smtpsetup.core.model import Stage
from smtpsetup.diagnosis.rehearsal import Act, ApiAnswer, Certificate, Fault
from smtpsetup.sandbox.server import HOST, PASSWORD, SandboxFacts

if TYPE_CHECKING:
    import io
    from pathlib import Path

_OTHER_NAME = "server7.web-host.example"  # of the certificate, and of the greeting with OTHER_HOST
_NO_FAULT = Fault(Stage.DNS)  # which never occurs, since a server takes no part in that stage
_CLOGS = 4  # connections that fill the backlog of a listener that accepts none


class FaultServer:
    """The running server, as a context manager. It writes `ca.pem` into `directory`; a port of 0 is any free one."""

    def __init__(self, directory: Path, fault: Fault, *, ports: tuple[int, int] = (0, 0)) -> None:
        self._directory = directory.resolve()
        self._fault = fault
        self._ports = ports
        self._sockets: list[socket.socket] = []

    def __enter__(self) -> SandboxFacts:
        self._context = self._tls_context()
        try:
            tls_port = self._listen(self._ports[0], is_tls_port=True)
            starttls_port = self._listen(self._ports[1], is_tls_port=False)
        except OSError:
            self._close()
            raise
        return SandboxFacts(HOST, tls_port, starttls_port, str(self._directory / "ca.pem"), PASSWORD)

    def __exit__(self, *_error: object) -> None:
        self._close()

    def _close(self) -> None:
        for sock in self._sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)  # wakes a thread that waits in accept
            sock.close()

    def _tls_context(self) -> ssl.SSLContext:
        authority = trustme.CA(organization_name="smtpsetup sandbox")
        authority.cert_pem.write_to_path(str(self._directory / "ca.pem"))
        kind = self._fault.certificate
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if kind is Certificate.SELF_SIGNED:
            _self_signed(context, self._directory)
            return context
        is_unknown = kind in (Certificate.UNKNOWN_AUTHORITY, Certificate.OWN_CHAIN)
        issuer = trustme.CA(organization_name="Somebody Else") if is_unknown else authority
        names = (_OTHER_NAME,) if kind in (Certificate.OTHER_NAME, Certificate.OTHER_HOST) else ("localhost", HOST)
        yesterday = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
        leaf = issuer.issue_cert(*names, not_after=yesterday if kind is Certificate.EXPIRED else None)
        if kind is Certificate.OWN_CHAIN:
            with leaf.private_key_and_cert_chain_pem.tempfile(str(self._directory)) as pem, open(pem, "ab") as file:
                file.write(issuer.cert_pem.bytes())
                file.flush()
                context.load_cert_chain(pem)
        else:
            leaf.configure_cert(context)
        if self._fault.act is Act.OLD_TLS:
            with warnings.catch_warnings():  # a deprecated version is intended
                warnings.simplefilter("ignore", DeprecationWarning)
                context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
                context.maximum_version = ssl.TLSVersion.TLSv1_1
            context.set_ciphers("ALL:@SECLEVEL=0")
        return context

    def _listen(self, port: int, *, is_tls_port: bool) -> int:
        fault = self._fault if is_tls_port or not self._fault.only_tls_port else _NO_FAULT
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._sockets.append(sock)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((HOST, port))
        where: tuple[str, int] = sock.getsockname()
        if fault.act is Act.REFUSE_CONNECTIONS:
            return where[1]  # bound, so that no other process takes it, but not listening
        if fault.act is Act.CLOG:
            sock.listen(0)
            for _number in range(_CLOGS):
                clog = socket.socket()
                self._sockets.append(clog)
                clog.settimeout(0)
                clog.connect_ex(where)
            return where[1]
        sock.listen(16)
        threading.Thread(
            target=self._accept, args=(sock, fault), kwargs={"is_tls_port": is_tls_port}, daemon=True
        ).start()
        return where[1]

    def _accept(self, listener: socket.socket, fault: Fault, *, is_tls_port: bool) -> None:
        with contextlib.suppress(OSError):  # `_close` closes the listener
            while True:
                client, _peer = listener.accept()
                self._sockets.append(client)
                session = _Session(client, fault, self._context, is_tls_port=is_tls_port)
                threading.Thread(target=session.run, daemon=True).start()


class _Session:
    """One client's connection."""

    def __init__(self, sock: socket.socket, fault: Fault, context: ssl.SSLContext, *, is_tls_port: bool) -> None:
        self._sock = sock
        self._fault = fault
        self._context = context
        self._is_tls_port = is_tls_port
        self._is_over = False

    def run(self) -> None:
        """Serve until the client leaves or the fault ends the connection."""
        try:
            speaks_tls = self._is_tls_port is not (self._fault.act is Act.WRONG_PROTOCOL)
            if speaks_tls:
                self._start_tls()
            if self._fault.api:
                self._serve_api(self._fault.api)
            else:
                self._serve()
        except (OSError, ValueError):
            pass  # the client is gone, or the fault broke the handshake
        finally:
            self._sock.close()  # not necessarily the socket that was accepted: TLS wraps it

    def _start_tls(self) -> None:
        if self._fault.act is Act.BREAK_HANDSHAKE:
            self._sock.recv(1)
            raise OSError("the fault ends the handshake")
        self._sock = self._context.wrap_socket(self._sock, server_side=True)

    def _serve(self) -> None:
        host = _OTHER_NAME if self._fault.certificate is Certificate.OTHER_HOST else "localhost"
        self._answer(Stage.GREETING, f"220 {host} ESMTP smtpsetup test server")
        lines = self._sock.makefile("rb")
        while not self._is_over and (line := lines.readline(8192)):
            command = line.decode("utf-8", "replace").strip()
            verb = command.partition(" ")[0].upper()
            if verb == "STARTTLS":
                self._answer_starttls()
                lines = self._sock.makefile("rb")
            elif verb == "DATA":
                self._send("354 go ahead")
                while lines.readline(65536) not in (b".\r\n", b""):
                    pass
                self._answer(Stage.DATA, "250 2.0.0 Accepted, and thrown away")
            elif verb == "QUIT":
                self._answer(Stage.QUIT, "221 2.0.0 Bye")
                return
            elif verb == "AUTH":
                self._log_in(command, lines)
            elif verb in ("EHLO", "HELO"):
                self._answer(Stage.EHLO, *self._offers())
            else:
                stage = {"MAIL": Stage.MAIL, "RCPT": Stage.RCPT}.get(verb)
                self._answer(stage, "250 2.0.0 ok")

    def _serve_api(self, answer: ApiAnswer) -> None:
        """Answer every request over HTTP with the error, in the form that the API has."""
        stream = self._sock.makefile("rb")
        while stream.readline(8192):
            size = 0
            while (line := stream.readline(8192)) not in (b"\r\n", b""):
                name, _colon, value = line.decode("latin-1").partition(":")
                size = int(value) if name.lower() == "content-length" else size
            while size > 0 and (data := stream.read(min(size, 65536))):
                size -= len(data)
            body = api_error(answer)
            self._send(
                f"HTTP/1.1 {answer.status} Error",
                "Content-Type: application/json",
                f"Content-Length: {len(body)}",
                "",
            )
            self._sock.sendall(body)

    def _offers(self) -> tuple[str, ...]:
        fault = self._fault
        is_secure = isinstance(self._sock, ssl.SSLSocket)
        withheld = fault.stage if fault.act is Act.WITHHOLD else None
        offers = ["localhost", "SIZE 50000000", "8BITMIME"]
        if withheld is not Stage.MAIL:
            offers.append("SMTPUTF8")
        if not is_secure and withheld is not Stage.STARTTLS:
            offers.append("STARTTLS")
        mechanisms = fault.offers if fault.offers is not None else "PLAIN LOGIN" if is_secure else ""
        if mechanisms:
            offers.append(f"AUTH {mechanisms}")
        return (*(f"250-{offer}" for offer in offers[:-1]), f"250 {offers[-1]}")

    def _answer_starttls(self) -> None:
        if self._fault.act is Act.INJECT:
            self._send("220 2.0.0 go ahead", "250 slipped in")
            return
        self._answer(Stage.STARTTLS, "220 2.0.0 go ahead")
        if not self._is_over and self._fault.stage is not Stage.STARTTLS:
            self._start_tls()

    def _log_in(self, command: str, lines: io.BufferedReader) -> None:
        mechanism, *first_answer = command.split()[1:] or [""]
        prompts = {"LOGIN": ["334 VXNlcm5hbWU6", "334 UGFzc3dvcmQ6"], "PLAIN": ["334 "]}.get(mechanism.upper(), [])
        for prompt in prompts[len(first_answer) :]:  # a client may send an initial response (RFC 4954 section 4)
            self._send(prompt)
            lines.readline(8192)
        self._answer(Stage.AUTH, "235 2.7.0 Welcome")

    def _answer(self, stage: Stage | None, *reply: str) -> None:
        """Send the reply, or act out the fault if this is its stage."""
        fault = self._fault
        if fault.stage is not stage or fault.act not in (Act.REPLY, Act.DROP, Act.SILENCE):
            self._send(*reply)
        elif fault.act is Act.DROP:
            self._is_over = True
        elif fault.act is Act.SILENCE:
            self._sock.recv(65536)
            self._sock.recv(65536)
        else:
            *others, last = fault.reply.splitlines()
            self._send(*others, f"{last[:3]} {last[4:]}")  # a part of a longer reply may have a dash there
            self._is_over = fault.reply.startswith("421")

    def _send(self, *lines: str) -> None:
        self._sock.sendall("".join(f"{line}\r\n" for line in lines).encode())


def api_error(answer: ApiAnswer) -> bytes:
    """An error in JSON, as Microsoft Graph or Google writes it."""
    if answer.transport == "graph":
        return json.dumps({"error": {"code": answer.code, "message": answer.message}}).encode()
    error = {"code": answer.status, "message": answer.message, "errors": [{"reason": answer.code}]}
    return json.dumps({"error": error}).encode()


def _self_signed(context: ssl.SSLContext, directory: Path) -> None:
    """Load a self-signed certificate. trustme issues only certificates that an authority signed."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with tempfile.NamedTemporaryFile(dir=directory, suffix=".pem") as pem:
        pem.write(private + certificate.public_bytes(serialization.Encoding.PEM))
        pem.flush()
        context.load_cert_chain(pem.name)
