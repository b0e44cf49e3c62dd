"""Gathering facts about a failure before it is explained. No login is tried, and nothing secret is sent."""

from __future__ import annotations

import datetime
import email.utils
import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from smtpsetup.address.address import parse_address
from smtpsetup.address.hosts import is_loopback
from smtpsetup.core.failure import Evidence, Failure, Kind
from smtpsetup.core.model import Security, Server, Stage, TransportKind
from smtpsetup.discovery.suffixes import registrable
from smtpsetup.net import dial
from smtpsetup.net.dial import Deadline, look_up_from_environment
from smtpsetup.net.parallel import run_parallel
from smtpsetup.providers import settings
from smtpsetup.sending.transports.smtp import policy_for, proxy_for
from smtpsetup.smtp.probe import Probed, Unverified, probe, probe_unverified

if TYPE_CHECKING:
    from collections.abc import Callable

    from smtpsetup.config.account import Account
    from smtpsetup.discovery.candidates import Candidate
    from smtpsetup.net.dial import LookUp
    from smtpsetup.providers.row import Provider

SECONDS = 8.0
USUAL_PORTS = (
    (465, Security.TLS),
    (587, Security.STARTTLS),
    (2525, Security.STARTTLS),
    (2465, Security.TLS),
    (2587, Security.STARTTLS),
)
# failures after which another server or port may work
_ELSEWHERE = (
    Kind.REFUSED,
    Kind.UNREACHABLE,
    Kind.TLS_NOT_SPOKEN,
    Kind.TLS_EXPECTED,
    Kind.TLS_FAILED,
    Kind.NOT_SMTP,
    Kind.NAME_NOT_FOUND,
)
_CERTIFICATE = (
    Kind.CERTIFICATE_EXPIRED,
    Kind.CERTIFICATE_NOT_YET_VALID,
    Kind.CERTIFICATE_UNTRUSTED,
    Kind.HOSTNAME_MISMATCH,
)
_WRONG_SECURITY = (Kind.TLS_NOT_SPOKEN, Kind.TLS_EXPECTED, Kind.TLS_FAILED)
_BEFORE_LOGIN = (Stage.CONNECT, Stage.TLS, Stage.GREETING, Stage.STARTTLS)
_WEB_PORT = 443


def second_look(
    failure: Failure,
    account: Account,
    provider: Provider | None,
    ask_owner: Callable[[], Candidate | None] | None = None,
) -> Evidence | None:
    """What can be found out about a failure within SECONDS; None where no check would help to explain it.

    After a refused login `ask_owner` finds settings of the domain's owner that contradict the provider's row.
    """
    if account.transport is not TransportKind.SMTP:
        return None  # what is looked for are other mail servers
    if failure.stage is Stage.AUTH and failure.reply and not failure.reply.is_temporary:
        return _owners_settings(account, ask_owner() if ask_owner else None)
    is_certificate = failure.kind in _CERTIFICATE
    is_connection = (
        failure.kind in _ELSEWHERE
        or failure.stage is Stage.STARTTLS
        or (failure.stage in _BEFORE_LOGIN and failure.kind in (Kind.TIMEOUT, Kind.CLOSED))
    )
    if not (is_certificate or is_connection) or proxy_for(account) is not None:
        return None  # behind a proxy, what can be reached from here tells nothing
    deadline = Deadline(SECONDS)
    address = parse_address(account.address)
    look_up = look_up_from_environment()
    questions: dict[str, Callable[[], object]] = {
        "alternative": lambda: _alternative(failure, account, provider, deadline, look_up)
    }
    if is_certificate:
        questions["shown"] = lambda: probe_unverified(account.server, address.domain, deadline, look_up)
    if failure.stage is Stage.CONNECT and not is_loopback(account.server.host):
        questions["web"] = lambda: _reaches_the_web(account, provider, deadline, look_up)
    answers = run_parallel(questions, deadline)
    alternative, web, shown = (answers.get(name) for name in ("alternative", "web", "shown"))
    evidence = Evidence(
        alternative=alternative if isinstance(alternative, Server) else None,
        web_is_reachable=web if isinstance(web, bool) else None,
    )
    if not isinstance(shown, Unverified):
        return evidence
    return evidence._replace(
        certificate=shown.certificate,
        greeting=shown.greeting,
        is_impostor=failure.kind is Kind.HOSTNAME_MISMATCH and _is_impostor(shown, account, provider),
        clock_ahead_seconds=clock_offset(shown.greeting),
    )


def _owners_settings(account: Account, candidate: Candidate | None) -> Evidence | None:
    """The settings of the domain's owner, where they contradict those of the account."""
    if candidate is None or account.server.host in candidate.hosts:
        return None
    return Evidence(
        owners_server=candidate.servers[0],
        owners_origin=candidate.origin,
        is_owner_certain=candidate.trust.vouches,
    )


def _alternative(
    failure: Failure, account: Account, provider: Provider | None, deadline: Deadline, look_up: LookUp | None
) -> Server | None:
    """The first other server of the same provider that greets, has a valid certificate and offers a login."""
    address = parse_address(account.address)
    servers = list(settings.servers_for(address, provider)) if provider else []
    if failure.kind not in (Kind.NAME_NOT_FOUND, *_CERTIFICATE):  # a host shows the same certificate on all its ports
        other = Security.STARTTLS if account.server.security is Security.TLS else Security.TLS
        same_port = ((account.server.port, other),) if failure.kind in _WRONG_SECURITY else ()
        servers += [Server(account.server.host, port, security) for port, security in (*same_port, *USUAL_PORTS)]
    tried = [server for server in dict.fromkeys(servers) if server != account.server]
    policy = policy_for(account)

    def question(server: Server) -> Callable[[], Probed]:
        return lambda: probe(server, address.domain, policy, deadline, look_up)

    probed = run_parallel({server: question(server) for server in tried}, deadline, is_enough=lambda one: one.works)
    return next((server for server in tried if server in probed and probed[server].works), None)


def _reaches_the_web(account: Account, provider: Provider | None, deadline: Deadline, look_up: LookUp | None) -> bool:
    """Whether the web port of the host, or of the provider's site, can be reached where the mail port cannot."""
    site = urlsplit(provider.docs_url or provider.enable_url).hostname if provider else None

    def question(host: str) -> Callable[[], bool]:
        return lambda: _answers(host, deadline, look_up)

    hosts = dict.fromkeys(host for host in (account.server.host, site) if host)
    return any(run_parallel({host: question(host) for host in hosts}, deadline, is_enough=bool).values())


def _answers(host: str, deadline: Deadline, look_up: LookUp | None) -> bool:
    try:
        dial.race(dial.resolve(host, _WEB_PORT, deadline, look_up), deadline).close()
    except (OSError, UnicodeError) as error:
        return isinstance(error, ConnectionRefusedError)  # refused by a host that is reached
    return True


def _is_impostor(shown: Unverified, account: Account, provider: Provider | None) -> bool:
    """Whether the certificate is for another owner than the provider: something intercepts the connection."""
    if provider is None or shown.certificate is None:
        return False
    address = parse_address(account.address)
    own = {registrable(server.host) for server in settings.servers_for(address, provider)} | {
        registrable(account.server.host)
    }
    theirs = {registrable(name.removeprefix("*.")) for name in shown.certificate.names}
    return bool(theirs - {None}) and not theirs & own


def clock_offset(greeting: str) -> float | None:
    """The seconds by which this machine's clock is ahead of the time in the greeting; None where it has none."""
    match = re.search(r"[A-Z][a-z]{2}, ?\d{1,2} [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d [+-]\d{4}", greeting)
    if not match:
        return None
    try:
        server_time = email.utils.parsedate_to_datetime(match[0])
    except (TypeError, ValueError):
        return None
    return (datetime.datetime.now(datetime.UTC) - server_time).total_seconds()
