"""Sending mail as it comes: a thread for each account, so that a slow provider holds up no other."""

from __future__ import annotations

import threading
import time
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from smtpsetup.config import accounts
from smtpsetup.core.errors import SmtpsetupError, reason_of
from smtpsetup.outbox import disposition
from smtpsetup.outbox.disposition import Postponement
from smtpsetup.outbox.errors import OutboxDamagedError
from smtpsetup.outbox.opening import opened
from smtpsetup.sending.context import context_for
from smtpsetup.sending.flush import AccountFlush
from smtpsetup.sending.flushed import Flushed
from smtpsetup.sending.take_back import take_back
from smtpsetup.worker.open_outbox import OutboxWhenNeeded

if TYPE_CHECKING:
    from collections.abc import Callable

    from smtpsetup.config.account import Account
    from smtpsetup.core.model import Log
    from smtpsetup.outbox.mail import Mail
    from smtpsetup.outbox.postgresql.listener import Listener
    from smtpsetup.outbox.store import Outbox
    from smtpsetup.sending.context import Context
    from smtpsetup.sending.send_one import SendResult
    from smtpsetup.worker.current import CurrentConfig, Signature

KEPT_OPEN_SECONDS = 30.0
"""How long a connection to a provider is kept open for the next mail."""
_LOOK_SECONDS = 10.0  # between two looks at mail that other processes have put into the outbox
_TAKE_BACK_SECONDS = 30.0  # between two looks for mail of processes that have ended
_PUT_OFF_SECONDS = 1.0  # between two changes of the mail of an account that is paused
_CROWDED_SECONDS = 5.0  # before the next try to get one of the connections that a provider allows
_HEARD_SECONDS = 0.25  # between two looks, however much mail other machines announce
_FORGET_SECONDS = 3600.0  # between two deletions of what is old in a shared outbox
_BROKEN_SECONDS = 5.0  # after an error of the outbox itself
_END_SECONDS = 20.0  # for replies to mail that is being sent when the relay stops

Key = tuple[str, str]  # the account's name and the path of its configuration


@dataclass(frozen=True, slots=True)
class _Pause:
    """An account's mail is not tried before `until` (seconds since 1970): it could only fail again."""

    until: float
    error: SmtpsetupError
    failures: int
    seen: Signature


class Reporter(Protocol):
    """Where a worker tells what happens."""

    @property
    def trace(self) -> Callable[[str], None] | None:
        """What gets the lines of conversations with providers, if that is wanted."""

    def result(self, mail: Mail, result: SendResult) -> None:
        """A mail was tried."""

    def trouble(self, text: str) -> None:
        """Something is wrong that is not about one mail."""


class Flusher:
    """Sends mail as it comes, and tells of it.

    `check` raises SmtpsetupError for an account that must not be used, such as one that leads back to the relay.
    """

    def __init__(
        self,
        current: CurrentConfig,
        directory: str,
        reporter: Reporter,
        check: Callable[[Account], None] = lambda _account: None,
    ) -> None:
        self._current = current
        self._settings = current.config.outbox  # for as long as this process runs
        self._directory = directory
        self._check = check
        self._on_result = reporter.result
        self._report = reporter.trouble
        self._trace = reporter.trace
        self._broken = ""  # what was reported last of the outbox itself
        self._woken = threading.Event()
        self._is_stopping = False
        self._workers: dict[Key, _Worker] = {}
        self._pauses: dict[Key, _Pause] = {}
        self._lock = threading.Lock()  # for the workers and for what is fresh
        self._fresh: set[Key] = set()
        self._taken_back_at = float("-inf")
        self._next_look = 0.0  # monotonic
        self._forget_at = 0.0  # monotonic
        self._hand_on_at = 0.0  # monotonic
        self._kept_back = ""  # why mail of this machine was not handed on
        self._crowded_until: dict[Key, float] = {}  # monotonic
        self._put_off_at: dict[Key, float] = {}
        self._thread = threading.Thread(target=self._work, name="flush", daemon=True)
        self._listener: Listener | None = None
        self.alive_at = time.monotonic()

    def start(self) -> None:
        """Begin."""
        self._thread.start()
        if self._settings.is_shared:
            from smtpsetup.outbox.postgresql.listener import Listener  # for a shared outbox only

            self._listener = Listener(self._settings, self._hear)
            self._listener.start()

    def _hear(self, account: str) -> None:
        """Other processes have put mail of an account into the outbox, `""` for any account."""
        if account and account not in self._current.config.accounts:
            return
        self._next_look = 0.0
        self._woken.set()

    def wake(self, keys: set[Key]) -> None:
        """There is new mail of these accounts."""
        with self._lock:
            self._fresh |= keys
        self._woken.set()

    def stop(self) -> None:
        """Begin no further mail, and wait for the replies to those that are being sent."""
        self._is_stopping = True
        self._woken.set()
        if self._listener:
            self._listener.stop()
        with self._lock:
            workers = list(self._workers.values())
        for worker in workers:
            worker.stop()
        end = time.monotonic() + _END_SECONDS
        for worker in workers:
            worker.join(max(0.0, end - time.monotonic()))
        self._thread.join(max(0.1, end - time.monotonic()))

    def _work(self) -> None:
        outbox = OutboxWhenNeeded(self._settings, self._directory, is_for_sending=True)
        while not self._is_stopping:
            self._woken.clear()
            try:
                seconds = self._look(outbox)
                outbox.make_way()
                self._broken = ""
            except Exception as error:  # noqa: BLE001  reported; the thread must not end
                self._report_broken(error)
                outbox.close()  # its connection may be broken
                seconds = _BROKEN_SECONDS
            if self._settings.is_shared:
                time.sleep(_HEARD_SECONDS)
            if not self._woken.wait(min(seconds, 1.0)):
                outbox.rest()  # so that a repair can come in
                self._woken.wait(max(0.0, seconds - 1.0))
        outbox.close()

    def _look(self, outbox: OutboxWhenNeeded) -> float:
        """Set workers on what is due. Returns after how many seconds to look again."""
        moment = self.alive_at = time.monotonic()
        now = time.time()
        with self._lock:
            keys, self._fresh = self._fresh, set()
        if moment >= self._next_look:  # all accounts, which takes long where much waits
            if moment - self._taken_back_at > _TAKE_BACK_SECONDS:
                take_back(outbox.get(), Flushed(self._on_result, forgets=True))
                self._taken_back_at = moment
            self._look_after_shared(outbox.get())
            keys |= set(outbox.get().accounts_due(now))
            following = outbox.get().next_attempt(now)
            wait = _LOOK_SECONDS if following is None else min(_LOOK_SECONDS, max(_PUT_OFF_SECONDS, following - now))
            self._next_look = moment + wait
        keys |= self._mended(outbox, now)
        for key in keys:
            if pause := self._pause_of(key, now):
                self._put_off(outbox.get(), key, pause, now)
            elif moment >= self._crowded_until.get(key, 0.0):
                self._set_to_work(key)
        return max(0.0, self._next_look - time.monotonic())

    def _look_after_shared(self, outbox: Outbox) -> None:
        """Hand on what this machine kept while a shared outbox was away; forget there what is old."""
        if not outbox.is_shared:
            return
        from smtpsetup.outbox.hand_on import hand_on  # for a shared outbox only
        from smtpsetup.outbox.postgresql.store import PostgresqlOutbox

        moment = time.monotonic()
        if isinstance(outbox, PostgresqlOutbox) and moment >= self._hand_on_at:
            self._hand_on_at = moment + _LOOK_SECONDS
            fault = hand_on(self._directory, outbox, self._current.config.accounts).fault
            if str(fault or "") != self._kept_back:
                self._kept_back = str(fault or "")
                if fault is not None:
                    self._report_broken(fault)
            if moment > self._forget_at:
                self._forget_at = moment + _FORGET_SECONDS
                outbox.forget_sent()

    def _set_to_work(self, key: Key) -> None:
        with self._lock:
            worker = self._workers.get(key)
            if worker is None and not self._is_stopping:
                worker = self._workers[key] = _Worker(self, key)
                worker.start()
        if worker:
            worker.wake()

    def _mended(self, outbox: OutboxWhenNeeded, now: float) -> set[Key]:
        """The accounts whose configuration has changed since they failed: their mail is due now."""
        seen = self._current.signature
        mended = {key: pause for key, pause in list(self._pauses.items()) if pause.seen != seen}
        for key, pause in mended.items():
            outbox.get().bring_forward(*key, now, pause.error.code)
            self._pauses.pop(key, None)
        return set(mended)

    def _pause_of(self, key: Key, now: float) -> _Pause | None:
        """The pause of an account, None where its mail may be tried."""
        pause = self._pauses.get(key)
        return pause if pause is not None and now < pause.until else None

    def _put_off(self, outbox: Outbox, key: Key, pause: _Pause, now: float) -> None:
        """Let an account's new mail wait, with the reason, so that other processes leave it, too."""
        if now - self._put_off_at.get(key, 0.0) < _PUT_OFF_SECONDS:
            self._next_look = min(self._next_look, time.monotonic() + _PUT_OFF_SECONDS)
            return
        if outbox.is_shared and not pause.error.is_limit:
            return  # another machine may be able to send it
        self._put_off_at[key] = now
        seconds = pause.until - now
        why = Postponement(pause.error, lambda _attempts: seconds, is_attempt=False, is_put_off=False)
        outbox.put_off(*key, now, why)

    def _report_broken(self, error: Exception) -> None:
        """Report an error of the outbox, once until it works again."""
        if isinstance(error, SmtpsetupError):  # what a mail's state could not be written for
            text = f"{error.message} ({error.code})"
        elif isinstance(error, OSError):
            text = f"{error.filename or self._directory}: {reason_of(error)}"
        elif isinstance(error, OutboxDamagedError):
            text = f"{error.path}: outbox.damaged"
        else:
            text = f"internal.bug: {type(error).__name__}"
        if text != self._broken:
            self._broken = text
            self._report(text)

    # for the workers

    def outbox(self) -> OutboxWhenNeeded:
        """The outbox, for a worker's own thread."""
        return OutboxWhenNeeded(self._settings, self._directory, is_durable=False, is_for_sending=True)

    def open_context(self, name: str, path: str) -> Context:
        """The context of an account. Raises SmtpsetupError."""
        config = self._current.config if path == self._current.named else accounts.load_named(path)
        account = config.account(name)
        self._check(account)  # the configuration may have changed
        return context_for(config, account, may_prompt=False, trace=self._trace)

    @property
    def signature(self) -> Signature:
        """A value that differs once the configuration has changed."""
        return self._current.signature

    @property
    def log(self) -> Log:
        """Where a line is logged for each mail."""
        return self._current.config.log

    def flushed(self) -> Flushed:
        """What a worker counts in."""
        return Flushed(self._on_result, forgets=True)

    def ended(self, key: Key, done: Flushed, broken: Exception | None) -> None:
        """A worker has ended; `done` may have the reason why an account's mail cannot be sent now."""
        error = done.errors.get(key[0])
        if done.is_crowded:
            self._crowded_until[key] = time.monotonic() + _CROWDED_SECONDS
        if error is not None:
            earlier = self._pauses.get(key)
            failures = earlier.failures + 1 if earlier and not done.sent else 1  # some mail got through
            until = time.time() + disposition.seconds_until_next(failures, error)
            self._pauses[key] = _Pause(until, error, failures, self._current.signature)
            self._report(f"{key[0]}: {error.message} ({error.code})")
        elif broken is None and (pause := self._pauses.pop(key, None)):
            self._works_again(key, pause)
        if broken is not None:
            self._report_broken(broken)
            self._taken_back_at = float("-inf")  # what it had taken is free
        with self._lock:
            self._workers.pop(key, None)
        self._next_look = 0.0  # mail may have come while the worker was ending
        self._woken.set()

    def _works_again(self, key: Key, pause: _Pause) -> None:
        """Let an account's other mail be due: it waits only because the account could not send."""
        try:
            with opened(self._settings, self._directory) as outbox:
                outbox.bring_forward(*key, time.time(), pause.error.code)
        except (OSError, OutboxDamagedError) as error:
            self._report_broken(error)


class _Worker:
    """Sends one account's mail over a connection that it keeps open for a while."""

    def __init__(self, flusher: Flusher, key: Key) -> None:
        self._flusher = flusher
        self._key = key
        self._woken = threading.Event()
        self._is_stopping = False
        self._flush: AccountFlush | None = None
        self._outbox: Outbox | None = None
        self._seen: Signature = ()
        self._thread = threading.Thread(target=self._work, name=f"send {key[0]}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """There is more mail."""
        self._woken.set()

    def stop(self) -> None:
        """Begin no further mail."""
        self._is_stopping = True
        self._woken.set()
        if self._flush:
            self._flush.stop()

    def join(self, seconds: float) -> None:
        """Wait for the end."""
        self._thread.join(seconds)

    def _wait_for_more(self) -> bool:
        end = time.monotonic() + KEPT_OPEN_SECONDS
        has_more = False
        while not has_more and time.monotonic() < end and not self._has_to_end():
            has_more = self._woken.wait(1.0)
        self._woken.clear()
        return has_more and not self._has_to_end()

    def _has_to_end(self) -> bool:
        """Whether to begin anew: for a changed configuration, or once a repair that waits is over."""
        return (
            self._is_stopping
            or self._flusher.signature != self._seen
            or (self._outbox is not None and self._outbox.is_wanted_alone())
        )

    def _work(self) -> None:
        done = self._flusher.flushed()
        broken: Exception | None = None
        self._woken.clear()
        self._seen = self._flusher.signature
        try:
            when_needed = self._flusher.outbox()
            with closing(when_needed), (outbox := when_needed.get()).lease() as lease:
                self._outbox = outbox
                flush = self._flush = AccountFlush(outbox, *self._key, lease, done, self._wait_for_more)
                if self._is_stopping:
                    flush.stop()
                flush.run(self._flusher.open_context, self._flusher.log)
                if done.sent:
                    outbox.tidy()
        except Exception as error:  # noqa: BLE001  reported; the mail is still in the outbox
            broken = error
            time.sleep(0 if self._is_stopping else _BROKEN_SECONDS)
        self._flusher.ended(self._key, done, broken)
