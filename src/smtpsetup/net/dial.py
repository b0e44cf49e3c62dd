"""TCP connections to a host and port, within a deadline."""

from __future__ import annotations

import errno
import os
import selectors
import socket
import threading
import time
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

NAMESERVER = "SMTPSETUP_NAMESERVER"  # the environment variable for another name server than the system's
_ATTEMPT_DELAY = 0.25  # seconds before the next address is tried as well (RFC 8305 section 5)
_NAMESERVER_SECONDS = 5.0  # to look up the name server itself
_IN_PROGRESS = (0, errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EALREADY)

SockAddress = tuple[int, tuple[str, int] | tuple[str, int, int, int]]


class Deadline:
    """A point in time at which every wait ends."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def remaining(self) -> float:
        """Seconds left, more than zero. Raises TimeoutError if none are."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError(errno.ETIMEDOUT, "deadline passed")
        return left

    def at_most(self, seconds: float) -> Deadline:
        """This deadline, or the one in that many seconds if it is earlier."""
        return Deadline(min(seconds, max(0.0, self._end - time.monotonic())))


LookUp: TypeAlias = "Callable[[str, Deadline], list[str]]"


def look_up_from_environment() -> LookUp | None:
    """The look-up of addresses with the name server in SMTPSETUP_NAMESERVER; None for the system's own.

    Raises as `net.dns.Resolver`.
    """
    if not os.environ.get(NAMESERVER):
        return None
    from smtpsetup.net.dns import Resolver  # 30 ms, only for this variable

    return Resolver(Deadline(_NAMESERVER_SECONDS)).addresses


def proxy_from_environment() -> str:
    """The URL of the proxy for every kind of connection, from `ALL_PROXY` or `all_proxy`; `""` for none."""
    return next((url for name, url in os.environ.items() if url and name.lower() == "all_proxy"), "")


def resolve(host: str, port: int, deadline: Deadline, look_up: LookUp | None = None) -> list[SockAddress]:
    """The addresses of a host, IPv6 and IPv4 in turn. `look_up` replaces the system's resolver.

    Raises socket.gaierror, UnicodeError, or TimeoutError if the resolver does not answer in time.
    """
    found: list[SockAddress] = []
    error: list[OSError | UnicodeError] = []

    def ask() -> None:
        try:
            names = look_up(host, deadline) if look_up and _is_name(host) else [host]
            infos = [
                info for name in names for info in socket.getaddrinfo(name.encode(), port, type=socket.SOCK_STREAM)
            ]
        except (OSError, UnicodeError) as failure:
            error.append(failure)
        else:
            families: dict[int, list[SockAddress]] = {}
            for family, _type, _protocol, _name, address in infos:
                families.setdefault(family, []).append((family, address))  # type: ignore[arg-type]  # typeshed knows no narrower type
            found.extend(entry for entry in chain.from_iterable(zip_longest(*families.values())) if entry)

    # getaddrinfo has no timeout; a daemon thread does not keep the process from ending
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(deadline.remaining())
    if error:
        raise error[0]
    if thread.is_alive():
        raise TimeoutError(errno.ETIMEDOUT, "no answer from the resolver")
    return found


def _is_name(host: str) -> bool:
    return host != "localhost" and ":" not in host and not host.replace(".", "").isdigit()


def race(addresses: list[SockAddress], deadline: Deadline) -> socket.socket:
    """The first socket that connects; the addresses are tried in parallel (Happy Eyeballs, RFC 8305).

    Raises TimeoutError, or the most informative OSError if every address failed: a refusal rather than no answer.
    """
    waiting = list(addresses)
    errors: list[OSError] = []
    next_start = 0.0
    with selectors.DefaultSelector() as selector:
        try:
            while waiting or selector.get_map():
                if waiting and (time.monotonic() >= next_start or not selector.get_map()):
                    _start_connecting(waiting.pop(0), selector, errors)
                    next_start = time.monotonic() + _ATTEMPT_DELAY
                pause = deadline.remaining()
                if waiting:
                    pause = min(pause, max(0.0, next_start - time.monotonic()))
                for key, _events in selector.select(pause):
                    sock: socket.socket = key.fileobj  # type: ignore[assignment]  # only sockets are registered
                    selector.unregister(sock)
                    code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                    if code == 0:
                        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                        return sock
                    sock.close()
                    errors.append(OSError(code, errno.errorcode.get(code, "")))
        finally:
            for key in list(selector.get_map().values()):
                key.fileobj.close()  # type: ignore[union-attr]  # as above
    raise min(errors, key=_rank)


def _start_connecting(address: SockAddress, selector: selectors.BaseSelector, errors: list[OSError]) -> None:
    family, where = address
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        errors.append(error)
        return
    sock.settimeout(0)
    code = sock.connect_ex(where)
    if code in _IN_PROGRESS:
        selector.register(sock, selectors.EVENT_WRITE)
    else:
        sock.close()
        errors.append(OSError(code, errno.errorcode.get(code, "")))


def _rank(error: OSError) -> int:
    """How much an error tells, 0 the most."""
    return 0 if error.errno == errno.ECONNREFUSED else 1 if error.errno == errno.ETIMEDOUT else 2
