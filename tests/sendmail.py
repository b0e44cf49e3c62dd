"""smtpsetup-sendmail as its callers run it, and an account for it that is written without a test login."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from smtpsetup.outbox.sqlite.store import SqliteOutbox
from smtpsetup.state import private_dir
from tests.conftest import PASSWORD, Home, Run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from smtpsetup.outbox.mail import Mail
    from smtpsetup.sandbox.server import CaughtMail, Sandbox, SandboxFacts

PROGRAM = str(Path(sys.executable).with_name("smtpsetup-sendmail"))
OWN = "info@example.com"
_CONFIG = """
default = "{address}"
{top}
[accounts."{address}"]
address = "{address}"
host = "localhost"
port = {port}
security = "tls"
secret = {{ store = "file", path = "{password_file}" }}
ca_file = "{ca_file}"
{rows}
"""


def config_text(  # noqa: PLR0913  what an account is made of
    port: int, ca_file: str, password_file: Path, *, top: str = "", rows: str = "", address: str = OWN
) -> str:
    """The text of a configuration with one account; `top` goes before the accounts and `rows` into this one."""
    return _CONFIG.format(address=address, port=port, ca_file=ca_file, password_file=password_file, top=top, rows=rows)


def configured(home: Home, facts: SandboxFacts, *, top: str = "", rows: str = "", password: str = PASSWORD) -> None:
    """An account at the sandbox."""
    file = home.file("password", password + "\n")
    home.file(
        str(home.config.relative_to(home.path)), config_text(facts.tls_port, facts.ca_file, file, top=top, rows=rows)
    )


def sendmail(
    home: Home,
    *arguments: str | bytes,
    stdin: str | bytes = b"",
    program: str = PROGRAM,
    seconds: float = 60,
    **env: str,
) -> Run:
    """Run it with these arguments and this message; asserts what `checked` does."""
    done = home.execute((program,), arguments, stdin, env, seconds)
    return checked(done.returncode, done.stdout, done.stderr)


def checked(code: int, out: bytes, err: bytes) -> Run:
    """A finished run; asserts that it printed no traceback, no Python warning and no internal error."""
    shown = err.decode("utf-8", "replace")
    assert not any(word in shown for word in ("Traceback", "internal.bug", "Exception ignored", "Warning: ")), shown
    assert code == 0 or out == b"" or any(word in out.decode() for word in ("outbox", "goes to", "220 ")), out
    return Run(code, out.decode(), shown)


def sent(home: Home, sandbox: Sandbox, *arguments: str | bytes, stdin: str | bytes) -> CaughtMail:
    """Send a message that arrives as one valid mail. Returns that mail."""
    done = sendmail(home, *arguments, stdin=stdin)
    assert (done.code, done.out, done.err) == (0, "", ""), done
    (mail,) = sandbox.mails
    assert_sound(mail)
    return mail


def assert_sound(mail: CaughtMail) -> None:
    """Assert what holds for every message that is submitted."""
    header = mail.content.partition(b"\r\n\r\n")[0]
    names = field_names(mail)
    assert header.isascii() or any(not address.isascii() for address in (mail.sender, *mail.recipients))
    assert not {"bcc", "resent-bcc", "return-path"} & set(names)
    assert [names.count(name) for name in ("from", "date", "message-id")] == [1, 1, 1], mail.content[:2000]
    assert set(mail.content.replace(b"\r\n", b"")).isdisjoint(b"\r\n")
    assert max(len(line) for line in mail.content.split(b"\r\n")) <= 998
    assert mail.message.defects == []


def field_names(mail: CaughtMail) -> Sequence[str]:
    """The names of the header's fields, in lower case and in order."""
    lines = mail.content.partition(b"\r\n\r\n")[0].split(b"\r\n")
    return [line.partition(b":")[0].decode("latin-1").lower() for line in lines if not line.startswith((b" ", b"\t"))]


def body_of(mail: CaughtMail) -> bytes:
    """The bytes after the header."""
    return mail.content.partition(b"\r\n\r\n")[2]


def kept(home: Home) -> list[Mail]:
    """The mails in the outbox of this home."""
    with SqliteOutbox(str(home.path / ".local" / "state" / "smtpsetup")) as outbox:
        return outbox.mails()


def log_lines(home: Home) -> list[str]:
    """The lines of this home's log."""
    path = home.path / ".local" / "state" / "smtpsetup" / "mail.log"
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def looked_today(home: Home) -> None:
    """Suppress today's warning of sendmail that nothing flushes the outbox."""
    state = home.path / ".local" / "state" / "smtpsetup"
    private_dir.prepare(str(state))
    for day in range(2):  # a test may run over midnight
        moment = time.gmtime(time.time() + 86_400 * day)
        (state / f"flush-looked-for-{time.strftime('%Y-%m-%d', moment)}").touch(0o600)
