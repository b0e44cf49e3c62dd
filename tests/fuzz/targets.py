"""What is fuzzed: functions of bytes that raise only for a finding.

A target swallows the errors that the code under test documents. Everything else that it raises, and every assertion
that fails, is a finding. `run` adds the rule about time.
"""

from __future__ import annotations

import hashlib
import os
import re
import socket
import time
import unicodedata
import zlib
from http.client import HTTPException
from typing import TYPE_CHECKING

from smtpsetup.address.address import MalformedAddressError, parse_address
from smtpsetup.address.address_list import understood
from smtpsetup.config import accounts, toml_edit
from smtpsetup.config.account_table import KEYS, table_of
from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.exit_codes import EXIT_CODES
from smtpsetup.core.failure import Failure, Kind, WireError
from smtpsetup.core.model import Secret, Security, Stage
from smtpsetup.diagnosis.diagnose import error_code
from smtpsetup.discovery import autoconfig, pacc
from smtpsetup.discovery.settings import UnusableError
from smtpsetup.message import raw_header, spool
from smtpsetup.message.detached import detached
from smtpsetup.message.header_recipients import addressed_by_header
from smtpsetup.message.html_to_text import text_of
from smtpsetup.message.message import Envelope, Message
from smtpsetup.net import proxy, tls
from smtpsetup.net.dial import Deadline
from smtpsetup.net.http_connection import HttpConnection
from smtpsetup.net.masks import Masks
from smtpsetup.net.stages import Stages
from smtpsetup.sending.batch_input import LineError, json_lines
from smtpsetup.sending.drafts import Parts, delivery_of, draft_of
from smtpsetup.sending.merge import merged, rows
from smtpsetup.sending.transports import api_answers
from smtpsetup.smtp.wire import Wire
from smtpsetup.state.request_limits import LONGEST_PAUSE
from tests.conftest import account_at
from tests.normalized import assert_sound, chunked, made

if TYPE_CHECKING:
    from collections.abc import Callable

    from smtpsetup.address.address import Address
    from smtpsetup.config.accounts import Config
    from smtpsetup.core.failure import Reply
    from smtpsetup.discovery.settings import Setting

SECONDS = 1.0  # of CPU time; an input that takes longer is a finding
LINE_LIMIT = 8192  # bytes of a line of a reply, as in smtp/wire.py
_REPEATED = 10_000  # bytes; one input in 32 is repeated up to this size, so that quadratic time shows
_DRAFTED = 5  # mails of one input that are written; a thousand take a second
_SECRET = "hemligt"
_ADDRESS = parse_address("info@mittforetag.se")
_ACCOUNT = account_at(465)
_NOWHERE = os.path.join(os.path.dirname(__file__), "no-such-directory")  # the only place that fuzzed paths may name


def smtp_reply(data: bytes) -> None:
    """Replies of a server, EHLO's first, read from a TCP connection that ends after them."""
    traced: list[str] = []
    replies: list[Reply] = []
    shown: list[str] = []
    client = connection(data)
    try:
        wire = Wire(client, Deadline(10), traced.append)
        wire.mask(_SECRET)
        replies.append(wire.ehlo("localhost"))
        assert all(re.fullmatch(r"[A-Z0-9-]+", keyword) for keyword in wire.extensions), wire.extensions
        while True:
            replies.append(wire.reply())
    except WireError as error:
        shown.append(error.detail)
    finally:
        client.close()
    for reply in replies:
        assert 200 <= reply.code <= 599, reply
        assert reply.lines, reply
        shown += [reply.enhanced, *reply.lines]
    for text in (*shown, *traced):
        assert text.isprintable(), text
        assert _SECRET not in text, text
    count = sum(line.startswith("< ") for line in traced)
    assert all(len(line) <= LINE_LIMIT + 1 for line in data.split(b"\n")[:count]), "a long line was accepted"


def connection(data: bytes) -> socket.socket:
    """A socket on which `data` and then the end arrive. Closing it leaves nothing behind in the kernel."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _peer = listener.accept()
    with server:
        server.settimeout(10)
        server.sendall(data[:200_000])
        server.shutdown(socket.SHUT_WR)
        # both ends are reset rather than kept in TIME_WAIT: thousands of connections a second would use up the ports
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        return client


_UNTOUCHED = (b"multipart/signed", b"multipart/encrypted", b"multipart/digest")  # they stay as they are


def raw_mail(data: bytes) -> None:
    """A mail of another program, corrected. The first byte says whether a dot ends it."""
    ignores_dots, message = data[:1] < b"\x80", data[1:]
    fields, _rest = _split(message, ignores_dots=ignores_dots)
    given, _faults = raw_header.recipients_in(fields)
    letters = "".join(field.value for field in fields)
    for address in given:
        assert _is_in(address, letters), address
    try:
        wire = made(message, ignores_dots=ignores_dots)
    except SmtpsetupError:  # NUL bytes where they cannot be encoded
        return
    is_untouched = any(kind in wire.lower().translate(None, b" \t\r\n") for kind in _UNTOUCHED)
    assert_sound(wire.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" if is_untouched else wire)
    sent, _rest = _split(wire, ignores_dots=True)
    before = _wire_forms(raw_header.values(fields, "to", "cc", "resent-to", "resent-cc"))
    after = _wire_forms(raw_header.values(sent, "to", "cc", "resent-to", "resent-cc"))
    assert after <= before, after - before
    assert is_untouched or b"\0" not in wire


def _split(message: bytes, *, ignores_dots: bool) -> tuple[tuple[raw_header.Field, ...], object]:
    lines = spool.with_crlf(chunked(message))
    return raw_header.split(lines if ignores_dots else spool.up_to_dot(lines))


def _is_in(address: str, text: str) -> bool:
    """Whether the characters of an address stand in the text in this order: comments between them are left out."""
    letters = iter(text)
    return all(char in letters for char in address)


def _wire_forms(values: list[str]) -> set[str]:
    """The addresses in header fields in their form for the envelope."""
    found = set()
    for value in values:
        for entry in understood(value)[0]:
            try:
                found.add(parse_address(entry.address).wire if entry else "")
            except MalformedAddressError:
                continue
    return found - {""}


def address_list(data: bytes) -> None:
    """A list of addresses, and each of them."""
    text = data.decode("utf-8", "replace")
    found, faults = understood(text)
    _address(text)
    for fault in faults.values():
        assert fault.message.isprintable(), fault.message
    separators = sum(text.count(char) for char in ",;") + len(text.split())
    assert len(found) <= separators + 1
    for entry in found:
        if entry:
            assert entry.address, text
            assert _is_in(entry.address, text), entry
            _address(entry.address)


def _address(text: str) -> None:
    try:
        address = parse_address(text)
    except MalformedAddressError as error:
        assert error.text.isprintable()
        assert 0 <= error.position <= len(error.text)
        return
    assert address.wire.isprintable()
    assert address.domain.isascii()
    assert len(address.local.encode()) <= 64
    assert len(address.domain) <= 253
    assert parse_address(address.wire) == address, address
    if unicodedata.is_normalized("NFC", str(address)):
        assert parse_address(str(address)).wire == address.wire, address


def config(data: bytes) -> None:
    """A configuration; an account that is written again changes nothing else."""
    text = data.decode("utf-8", "replace")
    try:
        before = _loaded(text)
    except SmtpsetupError:
        return
    for name, account in before.accounts.items():
        assert isinstance(account.server.port, int)
        assert 0 < account.server.port <= 65535
        try:
            text = toml_edit.with_table(text, ("accounts", name), table_of(account), KEYS)
        except SmtpsetupError:
            return  # an account that is written in a form that is not edited
        assert _loaded(text) == before


def _loaded(text: str) -> Config:
    return accounts._config(text, os.path.join(_NOWHERE, "config.toml"))  # the text of a file, without the file


def merge_csv(data: bytes) -> None:
    """A table for a merge, filled into every part of a template: one mail for a row has at most one recipient."""
    try:
        table = rows(data)
    except SmtpsetupError:
        return
    names = list(table[0][1]) if table else []
    column = next((name for name in names if name and not set("{}") & set(name)), "")
    cell = f"${{{column}}}"
    template = Parts(
        to=(f"{cell} <{cell}>",), subject=cell, body=cell, html=f"<p>{cell}</p>", headers=(f"X-A: {cell}",)
    )
    for one in (template, template._replace(to=())) if column else ():
        try:
            items = list(merged(table, one, _NOWHERE))
        except SmtpsetupError:
            continue
        assert len(items) == len(table)
        for item in items[:_DRAFTED]:
            if not isinstance(item, LineError):
                assert len(item.parts.to) == 1
                _drafted(item.parts, most=1)


def batch_json(data: bytes) -> None:
    """The lines of a batch."""
    keys = []
    for item in json_lines(data.splitlines(keepends=True), None, _NOWHERE):
        if isinstance(item, LineError):
            continue
        keys.append(item.key)
        if len(keys) > _DRAFTED:
            continue
        letters = "".join((*item.parts.to, *item.parts.cc, *item.parts.bcc))
        _drafted(item.parts, most=letters.count("@"))
    assert len(keys) == len(set(keys))


def _drafted(parts: Parts, most: int) -> None:
    """The mail of a row or a line: refused, or sound and with at most so many recipients."""
    try:
        delivery = delivery_of(draft_of(_ACCOUNT, parts))
    except SmtpsetupError:
        return
    assert len(delivery.envelope.recipients) <= most, delivery.envelope
    assert all(address.isprintable() for address in delivery.envelope.recipients), delivery.envelope
    assert_sound(b"".join(delivery.message.chunks()))


def autoconfig_xml(data: bytes) -> None:
    """A settings file."""
    try:
        found = autoconfig.settings(data, _ADDRESS)
    except UnusableError as error:
        assert str(error).isprintable(), error
        return
    assert found
    for setting in found:
        _check_setting(setting, _ADDRESS)


def pacc_json(data: bytes) -> None:
    """A PACC document whose digest is in the DNS."""
    try:
        found = pacc.settings(data, [hashlib.sha256(data).digest()], _ADDRESS)
    except UnusableError as error:
        assert str(error).isprintable(), error
        return
    _check_setting(found, _ADDRESS)


def _check_setting(setting: Setting, address: Address) -> None:
    server = setting.server
    assert server.security is not Security.NONE
    assert 0 < server.port <= 65535
    assert server.port != 25
    assert re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)+", server.host), server
    assert setting.username is None or (setting.username.isprintable() and len(setting.username) <= 320)
    assert len(server.host) <= 253 + len(address.domain)


def html_text(data: bytes) -> None:
    """A page of HTML."""
    text = text_of(data.decode("utf-8", "replace"))
    assert text.endswith("\n")
    assert "\r" not in text
    assert "\n\n\n" not in text
    assert all(line == line.strip() for line in text.split("\n"))
    assert len(text) <= 4 * len(data) + 1


def http_answer(data: bytes) -> None:
    """An answer of an API, and what it means."""
    traced: list[str] = []
    masks = Masks()
    masks.add(_SECRET)
    stages = Stages(_ACCOUNT.server, None)
    client = connection(data)
    http = HttpConnection(stages, tls.policy(), masks, look_up=None, proxy=None, trace=traced.append)
    http._sock = client  # type: ignore[assignment]  # without TLS
    try:
        response = http._read("POST", Deadline(10))
    except (WireError, OSError, HTTPException):
        return
    finally:
        client.close()
    assert 200 <= response.status <= 999, response
    assert len(response.body) <= 65_536
    pause = api_answers.pause_in(response)
    assert pause is None or 0 <= pause <= LONGEST_PAUSE, pause
    reply = api_answers.reply_of(response, masks)
    for text in (*reply.lines, *traced):
        assert text.isprintable(), text
        assert _SECRET not in text, text
    for stage in (Stage.AUTH, Stage.DATA):
        assert error_code(Failure(stage, Kind.HTTP, _ACCOUNT.server, reply)) in EXIT_CODES


def proxy_answer(data: bytes) -> None:
    """The answers of a proxy; the first byte says of which kind it is, and whether it wants a login."""
    kind, answers = data[:1] or b"\0", data[1:]
    login = Secret(f"user:{_SECRET}") if kind[0] & 1 else None
    given = proxy.Proxy("socks5" if kind[0] & 2 else "http", "proxy.example", 1080, login)
    client = connection(answers)
    open_through = proxy._open_by_socks if given.scheme == "socks5" else proxy._open_by_http
    try:
        open_through(proxy._Exchange(client, Deadline(10)), given, "send.one.com", 465)
    except proxy.ProxyError as error:
        assert error.detail.isprintable(), error.detail
        assert _SECRET not in error.detail
    except OSError:
        pass
    finally:
        client.close()


def header_recipients(data: bytes) -> None:
    """A header that is to name the recipients of the envelope and nobody else."""
    to = b"To: asa@example.com\n" if len(data) % 2 else b""
    try:
        header = made(to + data, ignores_dots=True).partition(b"\r\n\r\n")[0]
    except SmtpsetupError:  # NUL bytes where they cannot be encoded
        return
    message = Message(header + b"\r\n\r\n", lambda: iter(()), 0)
    wanted = ("asa@example.com", "bo@example.org")
    addressed = addressed_by_header(message, Envelope("info@example.com", wanted))
    fields, _rest = raw_header.split([addressed.header])
    assert sorted(_wire_forms(raw_header.values(fields, "to", "cc", "bcc"))) == sorted(wanted), addressed.header
    assert not raw_header.values(fields, "resent-to", "resent-cc", "resent-bcc")
    assert addressed.header.endswith(b"\r\n\r\n")


def detached_files(data: bytes) -> None:
    """A mail that is taken apart: sizes are those of what is read."""
    header, _empty, body = data.partition(b"\n\n")
    header = b"".join(line.rstrip(b"\r") + b"\r\n" for line in header.split(b"\n") if line.strip()) + b"\r\n"
    body = b"".join(spool.with_crlf([body]))
    message = Message(header, lambda: iter(chunked(body)), len(body))
    parts = detached(message)
    assert parts.message.size == sum(map(len, parts.message.chunks()))
    for file in parts.files:
        assert file.name.isprintable()
        assert file.size == sum(map(len, file.content()))
    assert sum(file.size for file in parts.files) <= len(body)


TARGETS: dict[str, Callable[[bytes], None]] = {
    "smtp-reply": smtp_reply,
    "raw-mail": raw_mail,
    "address-list": address_list,
    "config": config,
    "merge-csv": merge_csv,
    "batch-json": batch_json,
    "autoconfig-xml": autoconfig_xml,
    "pacc-json": pacc_json,
    "html-text": html_text,
    "http-answer": http_answer,
    "proxy-answer": proxy_answer,
    "header-recipients": header_recipients,
    "detached-files": detached_files,
}


def run(target: str, data: bytes) -> None:
    """Run a target on an input, and on some inputs repeated. Raises whatever is a finding."""
    _within_time(TARGETS[target], data)
    if data and zlib.crc32(data) % 32 == 0:
        _within_time(TARGETS[target], data * (_REPEATED // len(data)))


def _within_time(function: Callable[[bytes], None], data: bytes) -> None:
    start = time.process_time()
    function(data)
    taken = time.process_time() - start
    assert taken < SECONDS, f"{len(data)} bytes took {taken:.2f} s"
