"""The exception for everything that a user can fix, and those for signals that end a command."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from smtpsetup.core.exit_codes import EXIT_CODES

if TYPE_CHECKING:
    from smtpsetup.core.failure import Failure


def reason_of(error: Exception) -> str:
    """The reason of an error of the operating system, the resolver or SQLite, in the user's language."""
    from smtpsetup.core.os_reasons import translated_reason  # only after a failure

    return translated_reason(error)


class SmtpsetupError(Exception):
    """An error that a user can fix. All texts are in the user's language.

    `code` is one of docs/errors.md. `message` is one sentence. `hints` say what to do, in order. `exit_code` is given
    only where it differs from that of the code (66 for any input file that cannot be read). `result` is what was found
    before the failure, as the JSON output has it. `responsible` is who can fix the cause. `known_cause` is the cause
    that was found to be the true one, `""` where none was; None where all causes are findings and not guesses.
    """

    needs_all_hints = False
    """Whether a person needs every hint at once, as for a mail that would be lost otherwise."""

    def __init__(  # noqa: PLR0913  the parts of the `error` object in the JSON output; most errors set two or three
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
        responsible: str = "",
        known_cause: str | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.causes = causes
        self.hints = hints
        self.url = url
        self.exit_code = EXIT_CODES[code] if exit_code is None else exit_code
        self.failure = failure
        self.result = result
        self.responsible = responsible
        self.known_cause = known_cause

    @property
    def reply_or_message(self) -> str:
        """The server's reply, else the message: what the outbox and the log show as the last reply."""
        return str(self.failure.reply) if self.failure and self.failure.reply else self.message

    @property
    def is_limit(self) -> bool:
        """Whether a limit of the provider for the account was reached: a run stops, and all of its mail waits."""
        return self.code.startswith("limit.")

    @property
    def stage(self) -> str:
        """The stage of the failure; without one, the part of the code before the dot."""
        return str(self.failure.stage) if self.failure else self.code.partition(".")[0]


class ExplainedOSError(OSError, ABC):
    """An error of the operating system's kind that knows what a person can do about it."""

    @abstractmethod
    def explained(self) -> SmtpsetupError:
        """The error for people."""


class NoTokenError(SmtpsetupError):
    """In the middle of a session there is no access token in place of a refused one, for the reason of `error`."""

    def __init__(self, error: SmtpsetupError) -> None:
        super().__init__(error.code, error.message)
        vars(self).update(vars(error))


class InterruptedUnkeptError(KeyboardInterrupt):
    """Ctrl-C while a mail was being sent that is not in the outbox."""


class InterruptedAfterTheDotError(KeyboardInterrupt):
    """Ctrl-C between the dot that ends the message and the server's reply: it may have been delivered."""


class TerminatedError(KeyboardInterrupt):
    """SIGTERM or SIGHUP in a command that has work to finish or mail to keep before it ends."""


def is_termination(error: BaseException | None) -> bool:
    """Whether SIGTERM or SIGHUP, rather than Ctrl-C, led to this error."""
    while error is not None and not isinstance(error, TerminatedError):
        error = error.__cause__ or error.__context__
    return error is not None
