"""From a host and a port to a connected socket, within a deadline."""

from __future__ import annotations

import errno
import selectors
import socket
import threading
import time
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

_STAGGER = 0.25  # seconds before the next address is tried beside the others (RFC 8305 section 5)
_IN_PROGRESS = (0, errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EALREADY)

SockAddress = tuple[int, tuple[str, int] | tuple[str, int, int, int]]


class Deadline:
    """A moment that nothing may outlast."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def remaining(self) -> float:
        """Seconds left, more than zero. Raises TimeoutError when there are none."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError(errno.ETIMEDOUT, "deadline passed")
        return left

    def at_most(self, seconds: float) -> Deadline:
        """This deadline or one that many seconds from now, whichever comes first."""
        return Deadline(min(seconds, max(0.0, self._end - time.monotonic())))


LookUp: TypeAlias = "Callable[[str, Deadline], list[str]]"


def resolve(host: str, port: int, deadline: Deadline, look_up: LookUp | None = None) -> list[SockAddress]:
    """The addresses of a host, both families in turn; `look_up` finds those of a name in the system's place.

    Raises socket.gaierror, or TimeoutError when the resolver does not answer in time.
    """
    found: list[SockAddress] = []
    error: list[OSError | UnicodeError] = []

    def work() -> None:
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

    # getaddrinfo has no timeout of its own; a daemon thread does not hold up the end of the process
    thread = threading.Thread(target=work, daemon=True)
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
    """The first socket that connects, the addresses tried side by side (RFC 8305).

    Raises TimeoutError, or the most telling OSError when every address failed: one that answered with a refusal says
    more than one that is out of reach.
    """
    waiting = list(addresses)
    errors: list[OSError] = []
    next_start = 0.0
    with selectors.DefaultSelector() as selector:
        try:
            while waiting or selector.get_map():
                if waiting and (time.monotonic() >= next_start or not selector.get_map()):
                    _start(waiting.pop(0), selector, errors)
                    next_start = time.monotonic() + _STAGGER
                pause = (
                    min(deadline.remaining(), max(0.0, next_start - time.monotonic()))
                    if waiting
                    else deadline.remaining()
                )
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
    raise min(errors, key=_silence)


def _start(address: SockAddress, selector: selectors.BaseSelector, errors: list[OSError]) -> None:
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


def _silence(error: OSError) -> int:
    return 0 if error.errno == errno.ECONNREFUSED else 1 if error.errno == errno.ETIMEDOUT else 2
