"""Results for people: plain lines that also work without colour, at 60 columns, and with a screen reader."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from smtpsetup import DOCUMENTATION
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.i18n import ngettext
from smtpsetup.core.model import Auth, ProviderStatus, Security
from smtpsetup.oauth.access_token import days_ago
from smtpsetup.render.prose import print_lines, prose
from smtpsetup.setup.identify import domain_shown, source_sentence, why_unconfirmed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import RenderableType

    from smtpsetup.config.account import Account
    from smtpsetup.config.accounts import Config
    from smtpsetup.core.errors import SmtpsetupError
    from smtpsetup.core.model import Server
    from smtpsetup.net.tls import TlsFacts
    from smtpsetup.oauth.access_token import SignInAge
    from smtpsetup.providers.table import Citation, Provider
    from smtpsetup.sending.send_one import SendResult
    from smtpsetup.setup.identify import Identification
    from smtpsetup.setup.test_account import AccountTestReport

_UNWRAPPED = 10_000  # columns: output that is no terminal has each sentence on one line, for grep


def console(*, stderr: bool = False) -> Console:
    """A console for standard output or error that interprets no markup, and styles nothing on its own."""
    stream = sys.stderr if stderr else sys.stdout
    made = Console(file=stream, markup=False, emoji=False, highlight=False)
    if not made.is_terminal:
        made.width = _UNWRAPPED
    return made


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


def note(text: str, *, hang: int = 0) -> None:
    """Print a sentence on standard error; lines after its first are indented by `hang`."""
    print_lines(console(stderr=True), prose(text), hang=hang)


def fields(rows: Iterable[tuple[RenderableType, RenderableType | None]]) -> Table:
    """Labels with their values beside them; rows whose value is None are left out."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for label, value in rows:
        if value is not None:
            grid.add_row(label, value)
    return grid


def _more(url: str) -> str:
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


def _auth_line(auths: tuple[Auth, ...]) -> str:
    if auths == (Auth.OAUTH2,):
        return _("OAuth2 only; a password does not work here")
    return _(" or ").join(auth_name(auth) for auth in auths)


def identification(found: Identification, *, stderr: bool = False) -> None:
    """Print the result of `identify`. For `configure` it goes to standard error, without what to do next."""
    provider = found.provider
    parts: list[RenderableType] = [Text(str(found.address), style="bold")]
    if found.best:
        parts.append(indented(prose(source_sentence(found))))
    parts.append(indented(fields(_identified(found))))
    if found.remarks:
        parts += [Text(), indented(bullets("•", found.remarks))]
    if found.needs_confirmation:
        text = _(
            "{host} is outside {domain}: make sure that it is your provider's before you give it a password."
        ).format(host=found.servers[0].host, domain=found.address.unicode_domain)
        if found.only_suggested:
            text = _("Make sure that {host} is your provider's before you give it a password. {why}").format(
                host=found.servers[0].host, why=why_unconfirmed(found)
            )
        parts += [Text(), indented(prose(text, "yellow"))]
    has_error_with_notes = provider is not None and provider.status is ProviderStatus.UNAVAILABLE
    parts += _provider_facts(provider, with_notes=not has_error_with_notes) if provider else ()
    if found.servers and not stderr:
        parts += [Text(), prose(_("Set it up: `smtpsetup configure {address}`.").format(address=found.address))]
        if Auth.OAUTH2 in found.auth and Auth.APP_PASSWORD not in found.auth:
            text = _(
                "With OAuth2, once you have a client id ({docs}/oauth2.md): `smtpsetup configure {address} --auth "
                "oauth2 --client-id ID`."
            )
            parts.append(prose(text.format(address=found.address, docs=DOCUMENTATION)))
        parts.append(prose(_("Then `smtpsetup card` shows what to enter in another program's mail settings.")))
    show(Group(*parts), stderr=stderr)


def _identified(found: Identification) -> list[tuple[str, RenderableType | None]]:
    provider = found.provider
    rows: list[tuple[str, RenderableType | None]] = [
        (
            _("Provider"),
            Text(provider.name if provider else _("not in the table"), style="bold" if provider else "dim"),
        ),
        (_("Domain"), domain_shown(found.address) if found.address.domain != found.address.unicode_domain else None),
        *(
            (_("Server") if number == 0 else _("or"), Text(server_line(server), style="" if number else "bold green"))
            for number, server in enumerate(found.servers[:2])
        ),
    ]
    if found.servers:
        username = found.username if found.username is not None else provider.username.label if provider else ""
        rows += [
            (_("Login"), username or _("none")),
            ("", Text(found.username_note, style="dim") if found.username_note else None),
            (_("Proof"), _auth_line(found.auth)),
        ]
    status = _status_line(provider) if provider else Text(_("not proved yet"), style="yellow")
    return [*rows, (_("Status"), status)]


def provider(row: Provider) -> None:
    """Print the facts about a provider on standard error, for `configure`."""
    show(Group(Text(row.name, style="bold"), *_provider_facts(row)), stderr=True)


def providers(rows: list[Provider]) -> None:
    """Print the result of `providers list`."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    for style in ("bold", "", "", "dim"):
        grid.add_column(style=style, overflow="fold")
    for row in rows:
        grid.add_row(row.name, server_line(row.servers[0]) if row.servers else "-", _status_line(row), row.id)
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
        (_("Login"), forms[row.username.form]),
        (_("Proof"), _auth_line(row.auth) if row.auth else "-"),
        (_("Status"), _status_line(row)),
        (_("Help page"), prose(row.docs_url) if row.docs_url else None),
        *(
            (_("Source") if number == 0 else "", Text(citation_line(source), style="dim"))
            for number, source in enumerate(row.sources)
        ),
        (_("Row from"), row.file),
    ]
    show(Group(Text(row.name, style="bold"), indented(fields(rows)), *_provider_facts(row)))


def _provider_facts(row: Provider, *, with_notes: bool = True) -> list[RenderableType]:
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
            parts.append(indented(prose(_more(row.enable_url))))
    notes = tuple(text for text in (*row.notes, row.from_policy, limits_line(row.limits)) if text)
    if notes and with_notes:
        parts += [Text(), indented(bullets("•", notes))]
    return [*parts, Text(), Text(_checked_line(row), style="dim")] if row.servers else parts


def citation_line(source: Citation) -> str:
    """A source of a row, with its dates."""
    dates = [str(source.date)] if source.date else []
    if source.still_listed:
        dates.append(_("still there on {day}").format(day=source.still_listed))
    shown = f"{source.at} ({', '.join(dates)})" if dates else source.at
    return f"{shown}: {source.note}" if source.note else shown


def _status_line(row: Provider) -> Text:
    if row.has_closed:
        return Text(_("closed"), style="red")
    return {
        ProviderStatus.OK: Text(_("ready to use"), style="green"),
        ProviderStatus.PREPARE: Text(_("something must be switched on first"), style="yellow"),
        ProviderStatus.UNAVAILABLE: Text(_("no SMTP at all"), style="red"),
        ProviderStatus.UNKNOWN: Text(_("settings not known to us"), style="yellow"),
    }[row.status]


def _checked_line(row: Provider) -> str:
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
    rows: list[tuple[str, RenderableType | None]] = [
        (_("Address"), value.address),
        (_("Sender name"), value.from_name or None),
        (_("Provider"), value.provider or None),
        (_("Server"), server_line(value.server)),
        (_("Login"), value.username or _("none")),
        (_("Proof"), auth_name(value.auth)),
        (_("Kept in"), None if value.auth is Auth.NONE else prose(value.secret.described())),
        (_("Authority"), value.ca_file or None),
        (_("Fingerprint"), value.tls_fingerprint or None),
        (_("Sign-in"), None if age is None else prose(_age(age, unused_days))),
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


def error(problem: SmtpsetupError) -> None:
    """Print what happened, the server's words, the causes, a blank line, and what to do, on standard error."""
    label = _("Error: ")
    message = prose(label + problem.message, "bold")
    message.stylize("red", 0, len(label))
    parts: list[RenderableType] = [message]
    excerpt = getattr(problem, "text", "")
    if excerpt:
        parts.append(indented(Text(f"{excerpt}\n{' ' * getattr(problem, 'position', 0)}^")))
    reply = problem.failure.reply if problem.failure else None
    if reply:
        parts.append(indented(fields([(_("The server said:"), Text(str(reply)))])))
    if problem.causes:
        label = ngettext("Cause:", "Possible causes:", len(problem.causes))
        causes = prose(problem.causes[0]) if len(problem.causes) == 1 else bullets("•", problem.causes)
        parts.append(indented(fields([(label, causes)])))
    if problem.responsible:
        parts.append(indented(fields([(_("Who can change it:"), Text(problem.responsible))])))
    if problem.hints:
        show(Group(*parts, Text(), Text(_("What to do:"))), stderr=True)
        for number, hint in enumerate(problem.hints, start=1):
            mark = f"  {number}. "
            note(mark + hint, hang=len(mark))
        parts = []
    if problem.url and not any(problem.url in hint for hint in problem.hints):
        parts.append(indented(prose(_more(problem.url))))
    parts += [Text(), Text(f"({problem.code})", style="dim")]
    show(Group(*parts), stderr=True)


def account_test(report: AccountTestReport) -> None:
    """Print what a successful `test` shows after its stages."""
    rows = [
        (_("TLS"), _tls_line(report.tls) if report.tls else None),
        (_("Offers"), ", ".join(report.capabilities)),
        (_("Message-ID"), report.message_id),
    ]
    if report.message_id:
        done = _("The server has accepted the test mail to {to}. Look in that inbox, and in its spam folder.").format(
            to=report.to
        )
    else:
        done = _("The login works. No mail was sent.")
    show(Group(fields(rows), Text(), prose(done, "green")))


def _tls_line(tls: TlsFacts) -> str:
    if tls.not_after:
        expiry = _("certificate valid until {day}").format(day=tls.not_after[:10])
    else:
        expiry = _("certificate known by its fingerprint")
    return f"{tls.version}, {tls.cipher}, {expiry}" + (f" ({tls.issuer})" if tls.issuer else "")


def sent(result: SendResult) -> None:
    """Print the result of a successful `send`, at a terminal."""
    words = str(result.reply) if result.reply else ""
    show(
        Group(prose(_("Sent to {names}.").format(names=", ".join(result.accepted)), "green"), Text(words, style="dim"))
    )
