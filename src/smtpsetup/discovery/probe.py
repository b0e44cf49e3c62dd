"""Asking a server itself: EHLO over verified TLS, a look at what it offers, and goodbye. Nobody logs in here."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from smtpsetup.discovery.findings import Candidate, Outcome, Trust
from smtpsetup.discovery.steps import Finding, side_by_side
from smtpsetup.failure import Kind, TransportError
from smtpsetup.i18n import gettext as _
from smtpsetup.model import Auth, Security, Server
from smtpsetup.transport.sasl import best_mechanism
from smtpsetup.transport.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable

    from smtpsetup.discovery.fetch import Fetcher
    from smtpsetup.discovery.steps import Circumstances, Step
    from smtpsetup.failure import Failure
    from smtpsetup.transport.dial import Deadline

_USUAL_NAMES = ("smtp", "mail", "send", "mailout")
_TOKEN_MECHANISMS = {"XOAUTH2", "OAUTHBEARER"}


@dataclass(frozen=True, slots=True)
class Probed:
    """What a server showed of itself. `auth` is empty where nobody could log in there; `detail` says why, or where it is."""

    server: Server
    auth: tuple[Auth, ...]
    detail: str

    @property
    def works(self) -> bool:
        """Whether it is a submission server that proved its name."""
        return bool(self.auth)


def guesses(domain: str, mail_hosts: tuple[str, ...]) -> list[tuple[Server, Server]]:
    """The hosts to try, the likeliest first, each with TLS and with STARTTLS."""
    hosts = dict.fromkeys((*(f"{name}.{domain}" for name in _USUAL_NAMES), *mail_hosts))
    return [(Server(host, 465, Security.TLS), Server(host, 587, Security.STARTTLS)) for host in hosts]


def probe(server: Server, domain: str, fetcher: Fetcher, deadline: Deadline) -> Probed:
    """Open a session and leave it. Whatever goes wrong is the answer, not an error."""
    addresses: list[str] = []
    session = Session(
        server,
        ehlo_name=domain,
        deadline=deadline,
        policy=fetcher.policy,
        on_stage=lambda result: addresses.append(result.detail) if result.stage == "connect" else None,
        look_up=fetcher.look_up,
    )
    try:
        with session:
            session.open()
            mechanisms = session.mechanisms
    except TransportError as error:
        return Probed(server, (), _reason(error.failure))
    auth = []
    if best_mechanism(mechanisms):
        auth.append(Auth.PASSWORD)
    if _TOKEN_MECHANISMS & set(mechanisms):
        auth.append(Auth.OAUTH2)
    if not auth:
        return Probed(server, (), _("it offers no login"))
    where = f"{', '.join(mechanisms)} ({addresses[-1]}{', ' + _('a private address') if _is_private(addresses[-1]) else ''})"
    return Probed(server, tuple(auth), where)


def ask_usual_names(hosts: list[tuple[Server, Server]]) -> Callable[[Circumstances, Step], Finding]:
    """The question to the usual names on both ports, all at once. The likeliest host that works is the answer."""

    def ask(circumstances: Circumstances, step: Step) -> Finding:
        servers = [server for pair in hosts for server in pair]
        answers = side_by_side(
            {server: _question(circumstances, server) for server in servers}, circumstances.deadline, is_enough=lambda probed: probed.works
        )
        seen = {server: answers.get(server) or Probed(server, (), _("no answer in time")) for server in servers}
        works = [tuple(seen[server] for server in pair if seen[server].works) for pair in hosts]
        candidates = tuple(
            Candidate(step.source, Trust.GUESS, step.rank, found[0].server.host, tuple(one.server for one in found), auth=found[0].auth)
            for found in works
            if found
        )
        detail = "; ".join(f"{server}: {seen[server].detail}" for server in servers if _tells(seen[server]))
        outcome = Outcome.FOUND if candidates else Outcome.FAILED if detail else Outcome.ABSENT
        return Finding(outcome, detail or _("no such server"), candidates)

    return ask


def _tells(probed: Probed) -> bool:
    """Whether a server that was only guessed has anything to say: most of them do not exist."""
    return probed.detail not in (_("no such host"), _("the port is closed"))


def _question(circumstances: Circumstances, server: Server) -> Callable[[], Probed]:
    return lambda: probe(server, circumstances.domain, circumstances.fetcher, circumstances.deadline)


def _is_private(address: str) -> bool:
    return not ipaddress.ip_address(address).is_global


_REASONS: dict[Kind, Callable[[], str]] = {
    Kind.NAME_NOT_FOUND: lambda: _("no such host"),
    Kind.NAME_TEMPORARY: lambda: _("its name could not be looked up"),
    Kind.REFUSED: lambda: _("the port is closed"),
    Kind.TIMEOUT: lambda: _("no answer in time"),
    Kind.CERTIFICATE_EXPIRED: lambda: _("its certificate has expired"),
    Kind.CERTIFICATE_NOT_YET_VALID: lambda: _("its certificate is not valid yet"),
    Kind.CERTIFICATE_UNTRUSTED: lambda: _("its certificate comes from an unknown authority"),
    Kind.HOSTNAME_MISMATCH: lambda: _("its certificate is for another name"),
    Kind.NOT_OFFERED: lambda: _("it offers no STARTTLS"),
    Kind.NOT_SMTP: lambda: _("it does not speak SMTP"),
}


def _reason(failure: Failure) -> str:
    if failure.kind in _REASONS:
        return _REASONS[failure.kind]()
    if failure.reply:
        return str(failure.reply).splitlines()[0]
    return _("no proper answer ({stage})").format(stage=failure.stage)
