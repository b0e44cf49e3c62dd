"""The rows of the provider table, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.i18n import ngettext
from smtpsetup.core.model import Auth, ProviderStatus
from smtpsetup.render.human import auth_name, bullets, fields, indented, more, server_line, show
from smtpsetup.render.prose import prose

if TYPE_CHECKING:
    from rich.console import RenderableType

    from smtpsetup.providers.row import Citation, Provider


def auth_line(auths: tuple[Auth, ...]) -> str:
    """What a provider takes as proof."""
    if auths == (Auth.OAUTH2,):
        return _("OAuth2 only; a password does not work here")
    return _(" or ").join(auth_name(auth) for auth in auths)


def provider(row: Provider) -> None:
    """Print a provider and what to switch on there, on standard error, for `configure`."""
    show(Group(Text(row.name, style="bold"), *facts(row, with_notes=False)), stderr=True)


def providers(rows: list[Provider]) -> None:
    """Print the result of `providers list`."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    for style in ("bold", "", "", "dim"):
        grid.add_column(style=style, overflow="fold")
    for row in rows:
        grid.add_row(row.name, server_line(row.servers[0]) if row.servers else "-", status_line(row), row.id)
    show(
        Group(grid, Text(), Text(ngettext("{n} provider", "{n} providers", len(rows)).format(n=len(rows)), style="dim"))
    )


def provider_row(row: Provider) -> None:
    """Print the result of `providers show`."""
    forms = {
        "address": _("the whole address"),
        "local-part": _("the part before the @"),
        "local-part.domain": _("the address with a dot in place of the @"),
        "fixed": _("always {value}").format(value=row.username.value),
        "own": row.username.label,
        "none": _("none"),
    }
    rows: list[tuple[str, RenderableType | None]] = [
        (_("Id"), row.id),
        (_("Domains"), ", ".join(row.domains) or None),
        *((_("Server") if number == 0 else "", server_line(server)) for number, server in enumerate(row.servers)),
        (_("User name"), forms[row.username.form]),
        (_("Signs in with"), auth_line(row.auth) if row.auth else "-"),
        (_("Status"), status_line(row)),
        (_("Help page"), prose(row.docs_url) if row.docs_url else None),
        *(
            (_("Source") if number == 0 else "", Text(citation_line(source), style="dim"))
            for number, source in enumerate(row.sources)
        ),
        (_("Row from"), row.file),
    ]
    show(Group(Text(row.name, style="bold"), indented(fields(rows)), *facts(row)))


def facts(row: Provider, *, with_notes: bool = True) -> list[RenderableType]:
    """What to switch on first, the notes, and when they were checked.

    `with_notes` is False where an error shows the notes, as for a provider without SMTP.
    """
    parts: list[RenderableType] = []
    if row.enable_steps and row.status in (ProviderStatus.OK, ProviderStatus.PREPARE):
        parts += [
            Text(),
            Text(_("Before you send:") if row.status is ProviderStatus.PREPARE else _("Good to know first:")),
            indented(bullets("{number}.", row.enable_steps)),
        ]
        if row.enable_url and not any(row.enable_url in step for step in row.enable_steps):
            parts.append(indented(prose(more(row.enable_url))))
    notes = tuple(text for text in (*row.notes, row.from_policy, limits_line(row.limits)) if text)
    if notes and with_notes:
        parts += [Text(), indented(bullets("•", notes))]
    return [*parts, Text(), Text(checked_line(row), style="dim")] if row.servers else parts


def citation_line(source: Citation) -> str:
    """A source of a row, with its dates."""
    dates = [str(source.date)] if source.date else []
    if source.still_listed:
        dates.append(_("still there on {day}").format(day=source.still_listed))
    shown = f"{source.at} ({', '.join(dates)})" if dates else source.at
    return f"{shown}: {source.note}" if source.note else shown


def status_line(row: Provider) -> Text:
    """Whether a provider works at once, in words."""
    if row.has_closed:
        return Text(_("closed"), style="red")
    return {
        ProviderStatus.OK: Text(_("ready to use"), style="green"),
        ProviderStatus.PREPARE: Text(_("something must be switched on first"), style="yellow"),
        ProviderStatus.UNAVAILABLE: Text(_("no SMTP at all"), style="red"),
        ProviderStatus.UNKNOWN: Text(_("settings not known to us"), style="yellow"),
    }[row.status]


def checked_line(row: Provider) -> str:
    """When the facts of a row were checked, or how old they are."""
    if row.last_checked is None:
        return _("The sources of this have no date, so it may be out of date.")
    month = row.last_checked.strftime("%Y-%m")
    if row.is_aged:
        return _("Source of {year}: it may have changed since.").format(year=row.last_checked.year)
    if row.confidence == "high":
        return _("Checked {month}.").format(month=month)
    if row.confidence == "low":
        return _("Checked {month}; there is one old source only, so this may be wrong.").format(month=month)
    return _("Checked {month}; sources were few, so this may not be the whole truth.").format(month=month)


def limits_line(limits: dict[str, int | str]) -> str:
    """A provider's limits as one sentence; `""` for none."""
    names = {
        "messages_per_day": _("{n} messages a day"),
        "recipients_per_day": _("{n} recipients a day"),
        "messages_per_hour": _("{n} messages an hour"),
        "messages_per_minute": _("{n} messages a minute"),
        "recipients_per_message": _("{n} recipients a message"),
        "message_size_mb": _("{n} MB a message"),
        "connections": _("{n} connections at a time"),
    }
    numbers = ", ".join(text.format(n=limits[key]) for key, text in names.items() if key in limits)
    said = _("Limits: {numbers}.").format(numbers=numbers) if numbers else ""
    return f"{said} {limits.get('note', '')}".strip()
