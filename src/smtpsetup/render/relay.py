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
from smtpsetup.relay.card import RELAY
from smtpsetup.relay.running import shown
from smtpsetup.render.card import form
from smtpsetup.render.human import fields, indented, note, say, show

if TYPE_CHECKING:
    from rich.console import RenderableType

    from smtpsetup.relay.card import Card
    from smtpsetup.relay.clients import Client
    from smtpsetup.relay.running import Where
    from smtpsetup.relay.status import Status
    from smtpsetup.relay.units import Units


def listening(place: Where, certificate: str, clients: int) -> None:
    """Print where the relay listens."""
    title = _("The relay takes mail and sends it at once. Leave it running; Ctrl-C stops it.")
    security = _("STARTTLS is offered") if place.has_starttls else _("not encrypted")
    rows: list[tuple[RenderableType, RenderableType | None]] = [
        (_("Address"), f"{shown(place.host, place.port)} ({security})"),
        (_("With TLS from the start"), shown(place.host, place.tls_port) if place.tls_port else None),
        (_("Certificate (SHA-256)"), certificate or None),
    ]
    show(Group(Text(title, style="bold"), indented(fields(rows)), Text()))
    if not clients:
        say(_("It has no clients yet, so nobody can send. Add one: `smtpsetup relay add-client NAME`."))


def stopped(waiting: int) -> None:
    """Print that the relay has ended, to whoever pressed Ctrl-C."""
    text = ngettext("{n} mail waits in the outbox.", "{n} mails wait in the outbox.", waiting).format(n=waiting)
    note(_("The relay has stopped.") + (f" {text}" if waiting else ""))


def clients(listed: list[Client]) -> None:
    """Print the result of `relay list`."""
    if not listed:
        say(_("The relay has no clients yet. Add one: `smtpsetup relay add-client NAME`."))
        return
    table = Table(box=None, pad_edge=False)
    for title in (_("Client"), _("Senders"), _("Account"), _("Without login from"), _("Per day")):
        table.add_column(title, overflow="fold", header_style="dim")
    for one in listed:
        old = _("old TLS")
        table.add_row(
            f"{one.name} ({old})" if one.old_tls else one.name,
            Text(plain_text(", ".join(one.senders)) or _("that of the account")),
            Text(plain_text(one.account) or _("by the sender")),
            plain_text(", ".join(one.nets)) or "-",
            str(one.per_day or "-"),
        )
    show(table)


def added(client: Client, found: Card) -> None:
    """Print a new client's fields, its password among them, this once."""
    _show_form(_("{name} can send through the relay. Enter this there:").format(name=client.name), found)


def renewed(name: str, found: Card) -> None:
    """Print a client's fields with its new password, this once."""
    _show_form(
        _("The old password of {name} no longer works. Enter the new one in the program:").format(name=name), found
    )


def _show_form(title: str, found: Card) -> None:
    say(title)
    show(Group(Text(), indented(form([line for line in found.lines if line.card == RELAY])), Text()))
    if found.has_new_password:
        note(_("Write the password down: it is shown only now, and smtpsetup keeps it in no readable form."))
    for remark in found.start:
        say(remark)


def installed(units: Units, *, is_system: bool, prints_only: bool) -> None:
    """Print the result of `relay --install`."""
    if prints_only:
        for path, content in units.files:
            print(f"# {path}\n{content}")  # noqa: T201  as it is to be saved, unwrapped
        commands = "; ".join(" ".join(command) for command in units.commands)
        note(_("Save each as the file named in its first line, then run: `{command}`.").format(command=commands))
        return
    say(_("Done: the relay starts with this machine.") if is_system else _("Done: the relay starts when you log in."))
    if not is_system:
        say(_("To keep it running always: `loginctl enable-linger`."))
    say(_("Check it: `smtpsetup relay --status`."))


def uninstalled(removed: list[str]) -> None:
    """Print the result of `relay --uninstall`."""
    if removed:
        say(_("The relay is no service any more. Its mail and its clients are still there."))
    else:
        say(_("The relay is not set up as a service."))


def status(found: Status) -> None:
    """Print the result of `relay --status`."""
    if found.is_listening:
        say(_("The relay listens on {address}.").format(address=found.address))
    elif found.clients:
        say(_("No relay is running. Start it: `smtpsetup relay`, or as a service: `smtpsetup relay --install`."))
    else:
        say(_("The relay is not running and has no clients yet. Add one: `smtpsetup relay add-client NAME`."))
    if found.fault:
        say(_("It cannot take mail: {reason}.").format(reason=found.fault))
    if found.clients:
        say(ngettext("It has {n} client.", "It has {n} clients.", found.clients).format(n=found.clients))
    elif found.is_listening:
        say(_("It has no clients yet, so nobody can send. Add one: `smtpsetup relay add-client NAME`."))
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
        reason = plain_text(one.reply).removesuffix(".")
        say(text.format(account=one.account, reason=reason, code=one.code, time=when))
        say(_("What to do: `smtpsetup explain {code}`.").format(code=one.code))


def _local(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")
