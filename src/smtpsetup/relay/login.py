"""Checking the passwords of clients: one at a time, slowly for who guesses, and at once for who was right before."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
import time
from collections import OrderedDict, deque
from concurrent.futures import ThreadPoolExecutor
from enum import Enum, auto
from typing import TYPE_CHECKING, NamedTuple

from smtpsetup.relay.clients import NOBODY, is_password

if TYPE_CHECKING:
    from collections.abc import Mapping

    from smtpsetup.core.model import Secret
    from smtpsetup.relay.clients import Address, Client

WRONG_SECONDS = 1.0
"""What a wrong login costs."""
MOST_WRONG = 10
"""Wrong logins from one address in a minute, after which it has to wait."""
_MINUTE = 60.0
_MOST_ADDRESSES = 10_000  # remembered, the oldest forgotten first
_MOST_WAITING = 100  # checks that wait for their turn
_MOST_KNOWN = 1000
_NETWORK_BITS = 64  # whoever has one address of IPv6 has all of its network


class Verdict(Enum):
    """Whether a login is right, wrong, or not looked at because there were too many."""

    RIGHT = auto()
    WRONG = auto()
    TOO_MANY = auto()


class Answer(NamedTuple):
    """The verdict on a login, with the client where it is right."""

    verdict: Verdict
    client: Client | None = None


class Logins:
    """Checks logins. The passwords themselves are not kept: one that was right is known by an HMAC of this process."""

    def __init__(self) -> None:
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="login")
        self._key = os.urandom(32)
        self._known: OrderedDict[bytes, str] = OrderedDict()  # the hash of the password that was right
        self._wrong: OrderedDict[str, deque[float]] = OrderedDict()
        self._told: OrderedDict[str, float] = OrderedDict()  # when an address was last told that there were too many
        self._checks: dict[bytes, asyncio.Future[bool]] = {}

    async def check(self, clients: Mapping[str, Client], address: Address, name: str, password: Secret) -> Answer:
        """The answer to a login from an address."""
        client = clients.get(name)
        kept = client.password_hash if client else NOBODY
        token = self._token(name, password)
        is_right = self._known.get(token) == kept
        if not is_right:
            # counted before the check: those that wait for their turn must not be free
            has_too_many = self._has_too_many(address)
            # on this machine a program with an old password must not shut out its neighbours
            is_refused = has_too_many and not (address.is_loopback and client)
            if is_refused or len(self._checks) >= _MOST_WAITING:
                return Answer(Verdict.TOO_MANY)
            moment = self._count(address)
            is_right = await self._is_right(token, password, kept)
            if is_right and moment in (times := self._wrong.get(_place(address), deque())):
                times.remove(moment)
            elif has_too_many:
                return Answer(Verdict.TOO_MANY)
        if not is_right or client is None or (client.nets and not client.comes_from(address)):
            await asyncio.sleep(WRONG_SECONDS)
            return Answer(Verdict.WRONG)
        self._known[token] = kept
        self._known.move_to_end(token)
        while len(self._known) > _MOST_KNOWN:
            self._known.popitem(last=False)
        return Answer(Verdict.RIGHT, client)

    def is_to_be_told(self, address: Address) -> bool:
        """Whether it is to be told that an address had too many wrong logins: once a minute."""
        place, now = _place(address), time.monotonic()
        if now - self._told.get(place, float("-inf")) < _MINUTE:
            return False
        self._told[place] = now
        while len(self._told) > _MOST_ADDRESSES:
            self._told.popitem(last=False)
        return True

    def close(self) -> None:
        """End the worker."""
        self._worker.shutdown(wait=False, cancel_futures=True)

    async def _is_right(self, token: bytes, password: Secret, kept: str) -> bool:
        """Check a password; logins with the same one, as by workers that start together, share the check."""
        check = self._checks.get(token)
        if check is None:
            loop = asyncio.get_running_loop()
            check = self._checks[token] = asyncio.ensure_future(
                loop.run_in_executor(self._worker, is_password, password, kept)
            )
            check.add_done_callback(lambda _done: self._checks.pop(token, None))
        return await asyncio.shield(check)

    def _token(self, name: str, password: Secret) -> bytes:
        text = f"{name}\0{password.reveal()}".encode("utf-8", "surrogateescape")
        return hmac.new(self._key, text, hashlib.sha256).digest()

    def _has_too_many(self, address: Address) -> bool:
        times = self._wrong.get(_place(address))
        while times and times[0] < time.monotonic() - _MINUTE:
            times.popleft()
        return times is not None and len(times) >= MOST_WRONG

    def _count(self, address: Address) -> float:
        times = self._wrong.setdefault(_place(address), deque(maxlen=2 * MOST_WRONG))
        moment = time.monotonic()
        times.append(moment)
        self._wrong.move_to_end(_place(address))
        while len(self._wrong) > _MOST_ADDRESSES:
            self._wrong.popitem(last=False)
        return moment


def _place(address: Address) -> str:
    """What is counted together: an address of IPv4, or a network of IPv6."""
    return str(address) if address.version == 4 else str(int(address) >> _NETWORK_BITS)  # noqa: PLR2004  the version of IP
