"""The relay and its clients, for people."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.i18n import ngettext
from smtpsetup.core.model import plain_text
from smtpsetup.render.card import form
from smtpsetup.render.human import fields, indented, note, say, show

if TYPE_CHECKING:
    from rich.console import RenderableType

    from smtpsetup.relay.card import Line
    from smtpsetup.relay.clients import Client
    from smtpsetup.relay.server import Running
    from smtpsetup.relay.status import Status
    from smtpsetup.relay.units import Units


def listening(running: Running, certificate: str, clients: int) -> None:
    """Print where the relay listens."""
    title = _("The relay takes mail and sends it at once. Stop it with Ctrl-C.")
    security = _("STARTTLS is offered") if running.has_starttls else _("not encrypted")
    rows: list[tuple[RenderableType, RenderableType | None]] = [
        (_("Address"), f"{running.address} ({security})"),
        (_("With TLS from the start"), running.tls_address or None),
        (_("Certificate (SHA-256)"), certificate or None),
    ]
    show(Group(Text(title, style="bold"), indented(fields(rows)), Text()))
    if not clients:
        say(_("It has no clients yet, so nobody can send. Add one: `smtpsetup relay add-client NAME`."))


def clients(listed: list[Client]) -> None:
    """Print the result of `relay list`."""
    if not listed:
        say(_("The relay has no clients yet. Add one: `smtpsetup relay add-client NAME`."))
        return
    table = Table(box=None, pad_edge=False)
    for title in (_("Client"), _("Senders"), _("Account"), _("Without login from"), _("A day")):
        table.add_column(title, overflow="fold", header_style="dim")
    for one in listed:
        table.add_row(
            one.name + (f" ({_('old TLS')})" if one.old_tls else ""),
            Text(plain_text(", ".join(one.senders)) or _("that of the account")),
            Text(plain_text(one.account) or _("by the sender")),
            plain_text(", ".join(one.nets)) or "-",
            str(one.per_day or "-"),
        )
    show(table)


def added(client: Client, lines: list[Line], *, is_running: bool) -> None:
    """Print a new client's fields, its password among them, this once."""
    _show_form(_("{name} can send through the relay. Fill this in there:").format(name=client.name), lines)
    if not is_running:
        say(_("Start the relay: `smtpsetup relay`, or for good: `smtpsetup relay --install`."))


def renewed(name: str, lines: list[Line]) -> None:
    """Print a client's fields with its new password, this once."""
    _show_form(_("The old password of {name} has ended. Fill the new one in there:").format(name=name), lines)


def _show_form(title: str, lines: list[Line]) -> None:
    say(title)
    show(Group(Text(), indented(form(lines)), Text()))
    note(_("The password is shown only now; smtpsetup keeps a hash of it."))


def installed(units: Units, *, is_system: bool, prints_only: bool) -> None:
    """Print the result of `relay --install`."""
    if prints_only:
        for path, content in units.files:
            print(f"# {path}\n{content}")  # noqa: T201  as it is to be saved, unwrapped
        commands = "; ".join(" ".join(command) for command in units.commands)
        note(_("Save each as the file in its first line, then run: `{command}`.").format(command=commands))
        return
    say(_("Done: the relay starts with this machine.") if is_system else _("Done: the relay starts when you log in."))
    if not is_system:
        say(_("So that it runs always: `loginctl enable-linger`."))
    say(_("See how it is: `smtpsetup relay --status`."))


def status(found: Status) -> None:
    """Print the result of `relay --status`."""
    if found.is_listening:
        say(_("The relay listens on {address}.").format(address=found.address))
    else:
        say(_("No relay is running. Start it: `smtpsetup relay`, or as a service: `smtpsetup relay --install`."))
    if found.fault:
        say(_("It cannot take mail: {reason}.").format(reason=found.fault))
    text = ngettext("It has {n} client.", "It has {n} clients.", found.clients).format(n=found.clients)
    say(text)
    waiting = ngettext("{n} mail waits in the outbox.", "{n} mails wait in the outbox.", found.waiting)
    say(waiting.format(n=found.waiting) if found.waiting else _("No mail waits."))
    if found.failed:
        text = ngettext(
            "{n} mail in the outbox is not tried any more.",
            "{n} mails in the outbox are not tried any more.",
            found.failed,
        )
        say(text.format(n=found.failed) + " " + _("Look at them: `smtpsetup outbox list`."))
    for one in found.upstream:
        when = "" if one.next_attempt is None else _local(one.next_attempt)
        text = _("{account} cannot send now: {reason} ({code}). It is tried again at {time}.")
        say(text.format(account=one.account, reason=plain_text(one.reply), code=one.code, time=when))


def _local(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")
