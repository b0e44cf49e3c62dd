"""One exception for everything that a person can mend, and the table from its code to the process's exit code."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from smtpsetup.core.failure import Failure

EX_USAGE = 64
EX_BUG = 1
EX_DATAERR = 65
EX_NOINPUT = 66
EX_NOUSER = 67
EX_NOHOST = 68
EX_UNAVAILABLE = 69
EX_IOERR = 74
EX_TEMPFAIL = 75
EX_PROTOCOL = 76
EX_NOPERM = 77
EX_CONFIG = 78
EX_INTERRUPTED = 130
EX_TERMINATED = 143

_EXIT_CODES = {
    "config.address-malformed": EX_DATAERR,
    "config.no-settings-found": EX_NOHOST,
    "config.provider-without-smtp": EX_UNAVAILABLE,
    "config": EX_CONFIG,
    "secret.keyring-locked": EX_TEMPFAIL,
    "secret": EX_CONFIG,
    "dns.not-found": EX_NOHOST,
    "dns": EX_TEMPFAIL,
    "connect": EX_TEMPFAIL,
    "tls": EX_UNAVAILABLE,
    "greeting.not-smtp": EX_PROTOCOL,
    "greeting.timeout": EX_TEMPFAIL,
    "greeting": EX_UNAVAILABLE,
    "ehlo": EX_UNAVAILABLE,
    "starttls": EX_UNAVAILABLE,
    "auth.not-offered": EX_UNAVAILABLE,
    "auth.no-common-mechanism": EX_UNAVAILABLE,
    "auth.temporary": EX_TEMPFAIL,
    "auth.too-many-attempts": EX_TEMPFAIL,
    "auth": EX_NOPERM,
    "mail.sender-not-allowed": EX_NOPERM,
    "mail.sender-unverified": EX_NOPERM,
    "mail": EX_UNAVAILABLE,
    "rcpt.greylisted": EX_TEMPFAIL,
    "rcpt": EX_NOUSER,
    "data.lost-before-reply": EX_TEMPFAIL,
    "data": EX_UNAVAILABLE,
    "outbox": EX_IOERR,
    "limit.account-blocked": EX_NOPERM,
    "limit": EX_TEMPFAIL,
    "server.shutting-down": EX_TEMPFAIL,
    "server.temporary": EX_TEMPFAIL,
    "server.protocol-error": EX_PROTOCOL,
    "server": EX_UNAVAILABLE,
    "connection": EX_TEMPFAIL,
    "internal": EX_BUG,
}


def exit_code_for(code: str) -> int:
    """The exit code of an error code: its own entry, else its stage's."""
    return _EXIT_CODES.get(code) or _EXIT_CODES[code.partition(".")[0]]


def reason_of(error: Exception) -> str:
    """Why the system did not do something, in the person's language."""
    from smtpsetup.core.os_reasons import in_words  # only for what failed

    return in_words(error)


class SmtpsetupError(Exception):
    """Something a person can mend.

    `code` is one of docs/errors.md. `message` is one sentence in the person's language. `hints` say what to do, in
    order. `exit_code` is given only where the code alone does not decide it (an unreadable file is 66 whatever it was
    for). `result` is what was learned before it failed, as the contract's JSON has it. `mender` is who can change it,
    in the person's language.
    """

    def __init__(  # noqa: PLR0913  every part of the contract's `error` object that a raiser may know
        self,
        code: str,
        message: str,
        *,
        causes: tuple[str, ...] = (),
        hints: tuple[str, ...] = (),
        url: str | None = None,
        exit_code: int | None = None,
        failure: Failure | None = None,
        result: dict[str, object] | None = None,
        mender: str = "",
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.causes = causes
        self.hints = hints
        self.url = url
        self.exit_code = exit_code if exit_code is not None else exit_code_for(code)
        self.failure = failure
        self.result = result
        self.mender = mender

    @property
    def stage(self) -> str:
        """The stage part of the code, or where the failure really happened."""
        return str(self.failure.stage) if self.failure else self.code.partition(".")[0]


class InterruptedAfterTheDotError(KeyboardInterrupt):
    """Ctrl-C while the server's answer to the whole message was awaited: it may or may not have been delivered."""


class TerminatedError(KeyboardInterrupt):
    """SIGTERM or SIGHUP, in a command that has something to finish or to keep before it ends."""


def is_termination(error: BaseException | None) -> bool:
    """Whether it was SIGTERM or SIGHUP that ended a command, and not Ctrl-C."""
    while error is not None and not isinstance(error, TerminatedError):
        error = error.__cause__ or error.__context__
    return error is not None
