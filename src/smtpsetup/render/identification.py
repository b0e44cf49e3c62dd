"""The result of `identify`, for people: what fits in twelve lines, or all of it."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.i18n import ngettext
from smtpsetup.core.model import Auth, ProviderStatus
from smtpsetup.render.human import bullets, console, fields, indented, server_line, show
from smtpsetup.render.prose import prose
from smtpsetup.render.provider import auth_line, checked_line, facts, status_line
from smtpsetup.setup.identify import domain_shown, source_sentence, why_unconfirmed
from smtpsetup.setup.ways import ways_for
from smtpsetup.terminal.streams import USUAL_COLUMNS

if TYPE_CHECKING:
    from rich.console import RenderableType

    from smtpsetup.providers.row import Provider
    from smtpsetup.setup.identify import Identification

_LINES = 12  # of the short form, at 80 columns
_LINES_OF_HEAD = 9
_LINES_OF_STEPS = 8  # before a login, where the steps are needed at once


def short(found: Identification) -> None:
    """Print who runs the mail, the server, what to do first, and the next command."""
    show(in_twelve_lines(found))


def in_twelve_lines(found: Identification) -> Group:
    """The same, in at most 12 lines at 80 columns."""
    head = _head(found)
    if _height(Group(*head)) > _LINES_OF_HEAD:
        head = _head(found, with_note=False)
    commands = _commands(found)
    room = _LINES - _height(Group(*head)) - _height(Group(*commands))
    steps = _before_sending(found, room)
    blank = [Text()] if not steps or _height(Group(*steps)) < room else []
    return Group(*head, *steps, *blank, *commands)


def before_login(found: Identification) -> None:
    """Print the same for `configure`, on standard error and without what to do next."""
    has_menu = found.provider and ways_for(found.provider, is_own_domain=found.source != "table")
    steps = [] if has_menu else _before_sending(found, _LINES_OF_STEPS)
    show(Group(*_head(found), *steps), stderr=True)


def whole(found: Identification) -> None:
    """Print all that is known (`identify --more`)."""
    provider = found.provider
    parts = [*_head(found, whole=True)]
    if provider:
        has_error_with_notes = provider.status is ProviderStatus.UNAVAILABLE
        parts += facts(provider, with_notes=not has_error_with_notes)
    ways = ways_for(provider, is_own_domain=found.source != "table") if provider else ()
    if ways:
        texts = tuple(f"{way.text} ({way.effort})." for way in ways)
        parts += [Text(), Text(_("What works:")), indented(bullets("{number}.", texts))]
    if found.servers:
        parts += [Text(), *_next_command(found)]
        parts.append(prose(_("Then `smtpsetup card` shows what to enter in another program's mail settings.")))
    show(Group(*parts))


def _height(content: RenderableType) -> int:
    """The lines that this takes at the width of the terminal, or at 80 columns where the output is no terminal."""
    out = console()
    width = out.width if sys.stdout.isatty() else USUAL_COLUMNS
    return len(out.render_lines(content, out.options.update(width=width), pad=False))


def _head(found: Identification, *, whole: bool = False, with_note: bool = True) -> list[RenderableType]:
    """The address, its provider and server, and what must be confirmed."""
    parts: list[RenderableType] = [Text(str(found.address), style="bold")]
    if found.best:
        parts.append(indented(prose(source_sentence(found))))
    parts.append(indented(fields(_settings(found, whole=whole, with_note=with_note))))
    if found.remarks:
        parts.append(indented(bullets("•", found.remarks)))
    if found.needs_confirmation:
        text = _(
            "{host} is outside {domain}: make sure that it is your provider's before you give it a password."
        ).format(host=found.servers[0].host, domain=found.address.unicode_domain)
        if found.only_suggested:
            text = _("Make sure that {host} is your provider's before you give it a password. {why}").format(
                host=found.servers[0].host, why=why_unconfirmed(found)
            )
        parts.append(indented(prose(text, "yellow")))
    elif found.provider and found.servers and _is_doubtful(found.provider) and not whole:
        parts.append(indented(Text(checked_line(found.provider), style="dim")))
    return parts


def _is_doubtful(row: Provider) -> bool:
    return row.is_aged or row.confidence == "low"


def _settings(found: Identification, *, whole: bool, with_note: bool) -> list[tuple[str, RenderableType | None]]:
    provider = found.provider
    shown = found.servers[:2] if whole else found.servers[:1]
    rows: list[tuple[str, RenderableType | None]] = [
        (
            _("Provider"),
            Text(provider.name if provider else _("not in the table"), style="bold" if provider else "dim"),
        ),
        (_("Domain"), domain_shown(found.address) if found.address.domain != found.address.unicode_domain else None),
        *(
            (_("Server") if number == 0 else _("or"), Text(server_line(server), style="" if number else "bold green"))
            for number, server in enumerate(shown)
        ),
    ]
    if found.servers:
        username = found.username if found.username is not None else provider.username.label if provider else ""
        is_note_shown = found.username_note and with_note and (whole or found.username is None)
        rows += [
            (_("User name"), username or _("none")),
            ("", Text(found.username_note, style="dim") if is_note_shown else None),
            (_("Signs in with"), auth_line(found.auth)),
        ]
    if whole or not found.servers:
        status = status_line(provider) if provider else Text(_("not proved yet"), style="yellow")
        rows.append((_("Status"), status))
    return rows


def _before_sending(found: Identification, room: int) -> list[RenderableType]:
    """The steps to take first, as many as have room in that many lines; in any case, how many there are."""
    provider = found.provider
    if provider is None or provider.status is not ProviderStatus.PREPARE or not provider.enable_steps:
        return []
    steps = provider.enable_steps
    title = Text(_("Before you send:"))
    for number in range(len(steps), 0, -1):
        left = len(steps) - number
        rest = ngettext("… and {n} more step.", "… and {n} more steps.", left).format(n=left)
        parts: list[RenderableType] = [title, indented(bullets("{number}.", steps[:number]))]
        parts += [Text(f"  {rest}")] if left else []
        if _height(Group(*parts)) <= room:
            return parts
    text = ngettext("Before you send: {n} step.", "Before you send: {n} steps.", len(steps)).format(n=len(steps))
    return [Text(text)]


def _quoted(found: Identification) -> str:
    return shlex.quote(str(found.address))


def _next_command(found: Identification) -> list[RenderableType]:
    parts: list[RenderableType] = [
        prose(_("Set it up: `smtpsetup configure {address}`").format(address=_quoted(found)))
    ]
    if Auth.OAUTH2 in found.auth and len(found.auth) > 1:
        text = _("With OAuth2: `smtpsetup configure {address} --auth oauth2`")
        parts.append(prose(text.format(address=_quoted(found))))
    return parts


def _commands(found: Identification) -> list[RenderableType]:
    """What to type next."""
    more = prose(_("All that is known: `smtpsetup identify {address} --more`").format(address=_quoted(found)))
    return [*(_next_command(found)[:1] if found.servers else ()), more]
