"""Both address families are tried in parallel, and failures have their cause."""

from __future__ import annotations

import errno
import socket
import time

import pytest

from smtpsetup.net import dial
from smtpsetup.net.dial import Deadline, SockAddress, race, resolve
from tests.servers import closed_port


def test_an_address_that_never_answers_does_not_hold_up_one_that_does() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, socket.create_server(("127.0.0.1", 0)) as good:
        clogs = [socket.socket() for _ in range(4)]
        for clog in clogs:  # a full accept queue drops further connection attempts, as a firewall does
            clog.setblocking(False)  # noqa: FBT003  the socket module's own signature
            clog.connect_ex(full.getsockname())
        started = time.monotonic()
        with race([(socket.AF_INET, full.getsockname()), (socket.AF_INET, good.getsockname())], Deadline(10)) as sock:
            assert sock.getpeername() == good.getsockname()
        assert time.monotonic() - started < 2
        for clog in clogs:
            clog.close()


def test_after_a_refusal_the_next_address_is_tried_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dial, "_ATTEMPT_DELAY", 8.0)
    with socket.create_server(("127.0.0.1", 0)) as good, closed_port() as port:
        refused: SockAddress = (socket.AF_INET, ("127.0.0.1", port))
        started = time.monotonic()
        race([refused, (socket.AF_INET, good.getsockname())], Deadline(10)).close()
        assert time.monotonic() - started < 4


def test_when_all_addresses_fail_the_refusal_is_reported() -> None:
    unreachable: SockAddress = (socket.AF_INET6, ("100::1", 25, 0, 0))  # the discard prefix of RFC 6666
    with closed_port() as port, pytest.raises(ConnectionRefusedError):
        race([unreachable, (socket.AF_INET, ("127.0.0.1", port))], Deadline(5))


def test_connecting_ends_at_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        clogs = [socket.socket() for _ in range(4)]
        for clog in clogs:
            clog.setblocking(False)  # noqa: FBT003  as above
            clog.connect_ex(full.getsockname())
        with pytest.raises(TimeoutError) as caught:
            race([(socket.AF_INET, full.getsockname())], Deadline(0.5))
        assert caught.value.errno == errno.ETIMEDOUT
        for clog in clogs:
            clog.close()


def test_a_name_resolves_to_addresses_of_both_families() -> None:
    addresses = resolve("localhost", 25, Deadline(5))
    assert {str(where[0]) for _family, where in addresses} <= {"127.0.0.1", "::1"}
    assert addresses


def test_an_invalid_name_is_an_error() -> None:
    with pytest.raises((OSError, UnicodeError)):
        resolve("a" * 64 + ".invalid", 25, Deadline(5))
