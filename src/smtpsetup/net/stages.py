"""The stages of a session: each is timed and reported, and an error inside it becomes a TransportError."""

from __future__ import annotations

import socket
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from smtpsetup.core.errors import reason_of
from smtpsetup.core.failure import Failure, Kind, Reply, StageResult, TransportError, WireError
from smtpsetup.core.model import Security, Server, Stage, StageStatus
from smtpsetup.net import tls

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_NO_SUCH_NAME = (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))


class Stages:
    """The stages of a session with `server`; `on_stage` gets the result of each.

    `detail` and `reply` belong to the current stage, and are reported with it.
    """

    def __init__(self, server: Server, on_stage: Callable[[StageResult], None] | None) -> None:
        self.server = server
        self.detail = ""
        self.reply: Reply | None = None
        self._on_stage = on_stage

    @property
    def is_watched(self) -> bool:
        """Whether anybody gets the results."""
        return self._on_stage is not None

    def report(self, stage: Stage, started: float, detail: str, reply: Reply | None, status: StageStatus) -> None:
        """Report a stage that began at `started` (monotonic seconds)."""
        if self._on_stage:
            ms = round((time.monotonic() - started) * 1000, 1)
            self._on_stage(StageResult(stage, status, ms, detail, reply))

    @contextmanager
    def stage(self, stage: Stage) -> Iterator[None]:
        """Time and report a stage. Raises TransportError for an error inside it."""
        started = time.monotonic()
        self.detail, self.reply = "", None
        try:
            yield
        except TransportError as error:
            failure = error.failure
        except (OSError, WireError, UnicodeError) as error:
            if isinstance(error, UnicodeError) and stage is not Stage.DNS:
                raise
            failure = failure_from(error, stage, self.server)
        else:
            self.report(stage, started, self.detail, self.reply, StageStatus.OK)
            return
        self.report(stage, started, failure.detail, failure.reply, StageStatus.FAILED)
        raise TransportError(failure)


def failure_from(error: OSError | WireError | UnicodeError, stage: Stage, server: Server) -> Failure:
    """The failure that an exception of the socket, the resolver or the protocol means at a stage."""
    if isinstance(error, WireError):
        return Failure(stage, error.kind, server, detail=error.detail)
    kind, detail = Kind.CLOSED, type(error).__name__
    if stage is Stage.DNS:
        is_absent = isinstance(error, UnicodeError) or error.errno in _NO_SUCH_NAME
        kind, detail = Kind.NAME_NOT_FOUND if is_absent else Kind.NAME_TEMPORARY, reason_of(error)
    elif stage is Stage.TLS and isinstance(error, OSError):
        kind, detail = tls.kind_of(error), _tls_detail(error)
        if kind is Kind.TLS_NOT_SPOKEN and server.security is Security.STARTTLS:
            kind = Kind.TLS_FAILED  # it had agreed to TLS
    elif isinstance(error, TimeoutError):
        kind, detail = Kind.TIMEOUT, ""
    elif isinstance(error, ConnectionRefusedError):
        kind, detail = Kind.REFUSED, ""
    elif stage is Stage.CONNECT:
        kind, detail = Kind.UNREACHABLE, reason_of(error)
    return Failure(stage, kind, server, detail=detail)


def _tls_detail(error: Exception) -> str:
    if isinstance(error, tls.FingerprintMismatchError):
        return error.found
    return str(getattr(error, "verify_message", "") or getattr(error, "reason", "") or error)
