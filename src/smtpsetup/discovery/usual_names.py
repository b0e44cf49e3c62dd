"""Probing the usual names of a domain's outgoing server."""

from __future__ import annotations

import ipaddress
from functools import partial
from typing import TYPE_CHECKING

from smtpsetup.core.failure import Failure, Kind
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import Security, Server, Stage
from smtpsetup.discovery.candidates import Candidate, QueryStatus, Trust
from smtpsetup.discovery.queries import QueryResult
from smtpsetup.net.parallel import run_parallel
from smtpsetup.smtp.probe import Probed, probe

if TYPE_CHECKING:
    from collections.abc import Callable

    from smtpsetup.discovery.queries import Query, SearchContext

_SHOWN = 100  # characters of a reply
_USUAL_NAMES = ("smtp", "mail", "send", "mailout")


def guesses(domain: str, mail_hosts: tuple[str, ...]) -> list[tuple[Server, Server]]:
    """The servers to probe, the likeliest host first: each host with implicit TLS and with STARTTLS."""
    hosts = dict.fromkeys(
        (*(f"{name}.{domain}" for name in _USUAL_NAMES), *(host for host in mail_hosts if "_" not in host))
    )
    return [(Server(host, 465, Security.TLS), Server(host, 587, Security.STARTTLS)) for host in hosts]


def ask_usual_names(context: SearchContext, query: Query, *, hosts: list[tuple[Server, Server]]) -> QueryResult:
    """Probe all servers in parallel. The candidates are the hosts that work, the likeliest first."""
    servers = [server for pair in hosts for server in pair]
    answers = run_parallel(
        {server: prober(context, server) for server in servers},
        context.deadline,
        is_enough=lambda probed: probed.works,
    )
    late = {server: Probed(server, failure=Failure(Stage.CONNECT, Kind.TIMEOUT, server)) for server in servers}
    seen = {**late, **answers}
    candidates = []
    for pair in hosts:
        working = tuple(server for server in pair if seen[server].works)
        if working:
            auth = seen[working[0]].auth
            candidates.append(Candidate(query.source, Trust.GUESS, query.rank, working[0].host, working, auth=auth))
    detail = "; ".join(f"{server}: {described(seen[server])}" for server in servers if _exists(seen[server]))
    outcome = QueryStatus.FOUND if candidates else QueryStatus.FAILED if detail else QueryStatus.ABSENT
    return QueryResult(outcome, detail or _("no such server"), tuple(candidates))


def _exists(probed: Probed) -> bool:
    return probed.failure is None or probed.failure.kind not in (Kind.NAME_NOT_FOUND, Kind.REFUSED)


def prober(context: SearchContext, server: Server) -> Callable[[], Probed]:
    """A call without arguments that probes the server."""
    fetcher = context.fetcher
    return partial(probe, server, context.domain, fetcher.policy, context.deadline, fetcher.look_up)


def described(probed: Probed) -> str:
    """The result of a probe in a few words for people."""
    if probed.failure:
        return _reason(probed.failure)
    if not probed.auth:
        return _("it offers no login")
    is_private = not ipaddress.ip_address(probed.address).is_global
    where = probed.address + ", " + _("a private address") if is_private else probed.address
    return f"{', '.join(probed.mechanisms)} ({where})"


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
        return str(failure.reply).splitlines()[0][:_SHOWN]
    return _("no proper answer ({stage})").format(stage=failure.stage)
