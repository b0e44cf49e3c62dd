"""Results for people: plain lines that also work without colour, at 60 columns, and with a screen reader."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import Auth, Security, TransportKind
from smtpsetup.oauth.access_token import days_ago
from smtpsetup.render.prose import print_lines, prose
from smtpsetup.terminal.streams import columns

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import RenderableType

    from smtpsetup.config.account import Account
    from smtpsetup.config.accounts import Config
    from smtpsetup.core.model import Server
    from smtpsetup.net.tls import TlsFacts
    from smtpsetup.oauth.access_token import SignInAge
    from smtpsetup.sending.send_one import SendResult
    from smtpsetup.setup.test_account import AccountTestReport

_UNWRAPPED = 10_000  # columns: output that is no terminal has each sentence on one line, for grep


def console(*, stderr: bool = False) -> Console:
    """A console for standard output or error that interprets no markup, and styles nothing on its own."""
    stream = sys.stderr if stderr else sys.stdout
    # rich takes a dumb terminal to have 80 columns, unless both dimensions are given
    return Console(
        file=stream,
        width=columns(stream) or _UNWRAPPED,
        height=shutil.get_terminal_size().lines,
        markup=False,
        emoji=False,
        highlight=False,
    )


def show(content: RenderableType, *, stderr: bool = False) -> None:
    """Print the content, without trailing blanks where the output is no terminal."""
    out = console(stderr=stderr)
    if out.is_terminal:
        out.print(content)
        return
    with out.capture() as captured:
        out.print(content)
    print("\n".join(line.rstrip() for line in captured.get().splitlines()), file=out.file)


def say(text: str, *, hang: int = 0) -> None:
    """Print a sentence on standard output; lines after its first are indented by `hang`."""
    print_lines(console(), prose(text), hang=hang)


def done(text: str, *, stderr: bool = False) -> None:
    """Print that something has worked, with a tick where the terminal has one."""
    out = console(stderr=stderr)
    try:
        mark = "✓ " if "✓".encode(out.encoding) else ""
    except UnicodeEncodeError:
        mark = ""
    print_lines(out, prose(mark + text, "green"), hang=len(mark))


def note(text: str, *, hang: int = 0) -> None:
    """Print a sentence on standard error; lines after its first are indented by `hang`."""
    print_lines(console(stderr=True), prose(text), hang=hang)


def steps(texts: Iterable[str]) -> None:
    """Print numbered steps on standard error, their commands unbroken."""
    for number, text in enumerate(texts, start=1):
        mark = f"  {number}. "
        note(mark + text, hang=len(mark))


def fields(rows: Iterable[tuple[RenderableType, RenderableType | None]]) -> Table:
    """Labels with their values beside them; rows whose value is None are left out."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for label, value in rows:
        if value is not None:
            grid.add_row(label, value)
    return grid


def more(url: str) -> str:
    """A pointer to a page that says more."""
    return _("More: {url}").format(url=url)


def bullets(mark: str, texts: tuple[str, ...]) -> Table:
    """Texts, each behind a mark, in which `{number}` stands for its number."""
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(justify="right", no_wrap=True)
    grid.add_column(overflow="fold")
    for number, text in enumerate(texts, start=1):
        grid.add_row(mark.format(number=number), prose(text))
    return grid


def indented(content: RenderableType) -> Padding:
    """Content two columns to the right."""
    return Padding(content, (0, 0, 0, 2), expand=False)


TRANSPORT_NAMES = {
    TransportKind.SMTP: "SMTP",
    TransportKind.GRAPH: "Microsoft Graph",
    TransportKind.GMAIL: "Gmail API",
}


def server_line(server: Server) -> str:
    """A server with the name of its security."""
    names = {Security.TLS: _("TLS"), Security.STARTTLS: _("STARTTLS"), Security.NONE: _("not encrypted")}
    return f"{server} {names[server.security]}"


def auth_name(auth: Auth) -> str:
    """The name of a kind of login."""
    return {
        Auth.PASSWORD: _("password"),
        Auth.APP_PASSWORD: _("app password"),
        Auth.OAUTH2: _("OAuth2"),
        Auth.API_KEY: _("API key"),
        Auth.TOKEN: _("token"),
        Auth.NONE: _("no login"),
    }[auth]


def left_behind(account: str, place: str) -> None:
    """Print where an earlier secret of an account could not be deleted; nothing where `place` is `""`."""
    if place:
        note(
            _("What logged {account} in before is still in: {place}. It could not be deleted now.").format(
                account=account, place=place
            )
        )


def account(value: Account, *, is_default: bool, age: SignInAge | None = None) -> None:
    """Print the result of `accounts show`."""
    unused_days = value.oauth2.unused_days if value.oauth2 else 0
    is_app_only = value.oauth2 is not None and value.oauth2.is_app_only
    rows: list[tuple[str, RenderableType | None]] = [
        (_("Address"), value.address),
        (_("Sender name"), value.from_name or None),
        (_("Provider"), value.provider or None),
        (_("Server"), server_line(value.server)),
        (_("Transport"), None if value.transport is TransportKind.SMTP else TRANSPORT_NAMES[value.transport]),
        (_("Proxy"), str(value.proxy) if value.proxy else None),
        (_("Fallback"), ", ".join(value.fallback) or None),
        (_("User name"), value.username or _("none")),
        (_("Signs in with"), auth_name(value.auth)),
        (_("Kept in"), None if value.auth is Auth.NONE else prose(value.secret.described())),
        (_("CA file"), value.ca_file or None),
        (_("Fingerprint"), value.tls_fingerprint or None),
        (_("Sign-in"), None if age is None or is_app_only else prose(_age(age, unused_days))),
        (_("Secret expires"), (value.oauth2.secret_expires if value.oauth2 else "") or None),
        (_("Default"), _("yes") if is_default else _("no")),
        (_("Proved"), _("yes") if value.verified else _("not yet: run `smtpsetup test`")),
    ]
    show(Group(Text(value.name, style="bold"), indented(fields(rows))))


def _age(age: SignInAge, limit: int) -> str:
    used = _("last used {when}").format(when=days_ago(age.unused))
    return used + "; " + _("after {n} days without use it is dead").format(n=limit) if limit else used


def accounts(config: Config) -> None:
    """Print the result of `accounts list`."""
    if not config.accounts:
        say(_("No account is configured yet in {path}. Set one up: `smtpsetup configure`.").format(path=config.path))
        return
    show(
        fields(
            (f"{'*' if name == config.default else ' '} {name}", server_line(value.server))
            for name, value in config.accounts.items()
        )
    )


def account_test(report: AccountTestReport, *, verbose: bool) -> None:
    """Print the result of a successful `test`; with `verbose` what the server offers, too."""
    rows = [
        (_("TLS"), _tls_line(report.tls) if report.tls else None),
        (_("Offers"), ", ".join(report.capabilities)),
        (_("Message-ID"), report.message_id),
    ]
    if report.message_id:
        text = _("Sent to {to} by {server}. Look in that inbox, and in its spam folder.")
    else:
        text = _("Logged in at {server}. No mail was sent.")
    if verbose:
        show(Group(fields(rows), Text()))
    done(text.format(to=report.to, server=report.account.server))


def _tls_line(tls: TlsFacts) -> str:
    if tls.not_after:
        expiry = _("certificate valid until {day}").format(day=tls.not_after[:10])
    else:
        expiry = _("certificate known by its fingerprint")
    return f"{tls.version}, {tls.cipher}, {expiry}" + (f" ({tls.issuer})" if tls.issuer else "")


def sent(result: SendResult) -> None:
    """Print the result of a successful `send`, at a terminal."""
    words = str(result.reply) if result.reply else ""
    done(_("Sent to {names}.").format(names=", ".join(result.accepted)))
    show(Text(words, style="dim"))
