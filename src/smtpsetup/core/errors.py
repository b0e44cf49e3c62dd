"""One exception for everything that a person can mend, and the table from its code to the process's exit code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smtpsetup.core.error_codes import EXIT_CODES

if TYPE_CHECKING:
    from smtpsetup.core.failure import Failure


def exit_code_for(code: str) -> int:
    """The exit code of an error code."""
    return EXIT_CODES[code]


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
