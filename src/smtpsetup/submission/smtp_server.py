"""The server's side of SMTP on a pair of streams (RFC 5321), for programs that call `sendmail -bs`.

It has no network, no login and no time limits: its client is the program that started it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO, Protocol

from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.submission.smtp_syntax import BAD_SEQUENCE, BAD_SYNTAX, OK, Reply, path_of, refusal_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_COMMAND_LIMIT = 4096  # bytes; RFC 5321 section 4.5.3.1.4 asks for 512, extensions for more
_CHUNK = 65_536  # bytes
_MOST_RECIPIENTS = 10_000
_EXTENSIONS = ("PIPELINING", "SIZE", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES")


class IncompleteMessageError(Exception):
    """The client has ended the stream inside a message."""


class Handler(Protocol):
    """What is done with the mail that a client hands over."""

    def check_recipient(self, sender: str, recipient: str) -> None:
        """Raise SmtpsetupError for a recipient that cannot be sent to."""

    def accept(self, sender: str, recipients: tuple[str, ...], chunks: Iterator[bytes]) -> SmtpsetupError | None:
        """Take over a message, sender `""` for the null sender; the error where it could not be sent or kept."""


class SmtpServer:
    """A session with one client, from the greeting to QUIT or the end of the stream."""

    def __init__(self, source: BinaryIO, sink: BinaryIO, host: str, handler: Handler) -> None:
        self._source = source
        self._sink = sink
        self._host = host or "localhost"
        self._handler = handler
        self._sender: str | None = None
        self._recipients: list[str] = []
        self._has_greeted = False
        self._line_end = b""  # CRLF once a command has ended with it
        self._commands: dict[str, Callable[[str], Reply]] = {
            "EHLO": self._ehlo,
            "HELO": self._helo,
            "MAIL": self._mail,
            "RCPT": self._rcpt,
            "DATA": self._data,
            "RSET": self._reset,
            "NOOP": self._noop,
            "VRFY": self._vrfy,
            "HELP": self._help,
        }

    def run(self) -> bool:
        """Serve the client. Returns false where the stream ended inside a message. Raises OSError."""
        self._say(Reply(220, "", f"{self._host} ESMTP smtpsetup"))
        while line := self._source.readline(_COMMAND_LIMIT):
            if line.endswith(b"\n") and self._line_end != b"\r\n":
                self._line_end = b"\r\n" if line.endswith(b"\r\n") else b"\n"
            if not line.endswith(b"\n"):
                if len(line) < _COMMAND_LIMIT:
                    break  # the stream has ended inside a command
                self._skip_line()
                self._say(Reply(500, "5.5.2", "Line too long"))
                continue
            verb, _blank, words = line.strip().decode("utf-8", "surrogateescape").partition(" ")
            if verb.upper() == "QUIT":
                self._say(Reply(221, "2.0.0", "Bye"))
                break
            command = self._commands.get(verb.upper())
            try:
                self._say(command(words.strip()) if command else Reply(500, "5.5.2", "Command not recognized"))
            except IncompleteMessageError:
                return False
            except Exception:
                self._say(Reply(421, "4.3.0", "Internal error"))
                raise
        return True

    def _skip_line(self) -> None:
        while (rest := self._source.readline(_CHUNK)) and not rest.endswith(b"\n"):
            pass

    def _say(self, reply: Reply) -> None:
        self._sink.write(reply.wire)
        self._sink.flush()

    def _helo(self, words: str) -> Reply:
        if not words:
            return BAD_SYNTAX
        self._reset("")
        self._has_greeted = True
        return Reply(250, "", self._host)

    def _ehlo(self, words: str) -> Reply:
        reply = self._helo(words)
        return reply if reply is BAD_SYNTAX else reply._replace(text="\n".join((self._host, *_EXTENSIONS)))

    def _mail(self, words: str) -> Reply:
        if not self._has_greeted or self._sender is not None:
            return BAD_SEQUENCE
        path = path_of("FROM", words)
        if isinstance(path, Reply):
            return path
        self._sender = path.address
        return OK

    def _rcpt(self, words: str) -> Reply:
        if self._sender is None:
            return BAD_SEQUENCE
        path = path_of("TO", words)
        if isinstance(path, Reply):
            return path
        if not path.address:
            return BAD_SYNTAX
        if len(self._recipients) >= _MOST_RECIPIENTS:
            return Reply(452, "4.5.3", "Too many recipients")
        try:
            self._handler.check_recipient(self._sender, path.address)
        except SmtpsetupError as error:
            return refusal_of(error)
        self._recipients.append(path.address)
        return OK

    def _data(self, words: str) -> Reply:
        if words:
            return BAD_SYNTAX
        if self._sender is None:
            return BAD_SEQUENCE
        if not self._recipients:
            return Reply(554, "5.5.1", "No valid recipients")
        self._say(Reply(354, "", "End the message with a line that is a single dot"))
        chunks = self._message()
        sender, recipients = self._sender, tuple(self._recipients)
        self._reset("")
        error = self._handler.accept(sender, recipients, chunks)
        for _rest in chunks:  # what an error has left unread
            pass
        return OK if error is None else refusal_of(error)

    def _message(self) -> Iterator[bytes]:
        """The message up to the line with the dot, dots unstuffed (RFC 5321 section 4.5.2).

        That line must end as the client's other lines do, so that no bare LF ends a message (SMTP smuggling).
        """
        is_line_start = True
        held = b""
        while piece := held + self._source.readline(_CHUNK):
            if piece == held:
                break  # the stream has ended
            held = b"\r" if piece.endswith(b"\r") else b""  # its LF may be on its way
            piece = piece.removesuffix(held)
            if is_line_start and piece == b"." + self._line_end:
                return
            starts_with_dot = is_line_start and piece.startswith(b".")
            is_line_start = piece.endswith(self._line_end)
            yield piece[1:] if starts_with_dot else piece
        raise IncompleteMessageError

    def _reset(self, _words: str) -> Reply:
        self._sender, self._recipients = None, []
        return OK

    def _noop(self, _words: str) -> Reply:
        return OK

    def _vrfy(self, words: str) -> Reply:
        return Reply(252, "2.5.2", "Send it a mail to find out") if words else BAD_SYNTAX

    def _help(self, _words: str) -> Reply:
        return Reply(214, "2.0.0", "Commands: " + " ".join((*self._commands, "QUIT")))
