"""A submission server with a table of replies, and the homes and mails of the outbox tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smtpsetup.message.message import Envelope
from smtpsetup.outbox.mail import NewMail
from tests.conftest import PASSWORD
from tests.mail_server import MailServer, Turn
from tests.messages import from_bytes

if TYPE_CHECKING:
    from tests.conftest import Home


class RecordingServer(MailServer):
    """Accepts everything except what `replies` names: the beginning of a command, or "." for the end of a message.

    A reply `b""` drops the connection; at "." the message counts as accepted all the same.
    """

    def __init__(self, *, pause: float = 0.0) -> None:
        self.replies: dict[str, bytes] = {}
        super().__init__(self._reply_from_table, offers=("PIPELINING", "8BITMIME", "SIZE 50000000"), pause=pause)

    def _reply_from_table(self, turn: Turn) -> bytes | None:
        said = turn.line or turn.verb
        return next((reply for beginning, reply in self.replies.items() if said.startswith(beginning)), None)

    def counts_as_accepted(self, reply: bytes) -> bool:
        return reply[:1] in (b"", b"2")

    @property
    def message_ids(self) -> list[str]:
        return [mail.message_id for mail in self.mails]


def plain_account(home: Home, port: int, **changes: str) -> None:
    """The account `a` at a server on this machine without TLS and login; the values are TOML."""
    row = {
        "address": '"info@example.com"',
        "host": '"127.0.0.1"',
        "port": str(port),
        "security": '"none"',
        "auth": '"none"',
        **changes,
    }
    home.file(
        ".config/smtpsetup/config.toml", "[accounts.a]\n" + "".join(f"{key} = {value}\n" for key, value in row.items())
    )


def password_account(home: Home, port: int, **changes: str) -> None:
    """The account `a` at a server on this machine without TLS, its password in a file; the values are TOML."""
    secret = f'{{ store = "file", path = "{home.file("password", PASSWORD)}" }}'
    values = {"host": '"localhost"', "auth": '"password"', "verified": "true", "secret": secret, **changes}
    plain_account(home, port, **values)


def new_mail(number: int, recipients: tuple[str, ...] = ("kund@example.com",)) -> NewMail:
    """A mail of the account `a` that is due."""
    message_id = f"<{number}@test.example>"
    content = f"Message-ID: {message_id}\r\nSubject: {number}\r\n\r\nNumber {number}.\r\n".encode()
    return NewMail("a", Envelope("info@example.com", recipients), from_bytes(content), message_id, str(number))


def state_dir(home: Home) -> str:
    """Where the outbox of this home is."""
    return str(home.path / ".local" / "state" / "smtpsetup")
