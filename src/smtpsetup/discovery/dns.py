"""What the domain name system says, every kind of silence told apart. Only this module knows dnspython."""

from __future__ import annotations

import os
import socket
import threading
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import dns.exception
import dns.name
import dns.rcode
import dns.resolver

from smtpsetup.addresses import InvalidDomainError, domain_forms
from smtpsetup.errors import SmtpsetupError
from smtpsetup.i18n import gettext as _

if TYPE_CHECKING:
    from collections.abc import Callable

    from smtpsetup.transport.dial import Deadline

NAMESERVER = "SMTPSETUP_NAMESERVER"
_PORT = 53
_HIGHEST_PORT = 65535
_TRY_SECONDS = 2.0  # for one name server, before the next one is asked
_LOOK_UP_SECONDS = 5.0


class DnsStatus(StrEnum):
    """How a look-up ended."""

    FOUND = "found"
    NO_NAME = "no-name"  # NXDOMAIN: neither this name nor anything below it exists (RFC 8020)
    NO_RECORDS = "no-records"
    SERVER_FAILURE = "server-failure"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"

    @property
    def is_temporary(self) -> bool:
        """Whether the name servers did not say, so that the same question may be answered later."""
        return self not in (DnsStatus.FOUND, DnsStatus.NO_NAME, DnsStatus.NO_RECORDS)


@dataclass(frozen=True, slots=True)
class MailExchange:
    """An MX record. `host` is `"."` where the domain takes no mail (RFC 7505)."""

    preference: int
    host: str


@dataclass(frozen=True, slots=True)
class Service:
    """An SRV record. `target` is `"."` where the service is not offered (RFC 2782)."""

    priority: int
    weight: int
    port: int
    target: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; `records` are MailExchange, Service or str, by what was asked for, and empty unless found."""

    status: DnsStatus
    records: tuple[Any, ...] = ()


class Resolver:
    """The system's name servers, or the one that `SMTPSETUP_NAMESERVER` names. Names are absolute: no search list is applied.

    Raises SmtpsetupError (`config.invalid`) for a value of that variable which cannot be one.
    """

    def __init__(self) -> None:
        chosen = os.environ.get(NAMESERVER)
        self._resolver = dns.resolver.Resolver(configure=False)
        if chosen:
            host, self._resolver.port = _host_and_port(chosen)
            self._resolver.nameservers = [host]
        else:
            try:
                self._resolver = dns.resolver.Resolver()
            except (dns.exception.DNSException, OSError):
                self._resolver.nameservers = ["127.0.0.1"]  # as the C library does where it is told nothing (resolv.conf(5))
        self._resolver.timeout = _TRY_SECONDS

    def mx(self, domain: str, deadline: Deadline) -> Answer:
        """Where a domain's mail goes, the most preferred host first; hosts with names that cannot be ones are left out."""
        answer = self._look_up(domain, "MX", deadline)
        records = ((int(record.preference), _host(record.exchange)) for record in answer.records)
        return _kept(
            answer, sorted((MailExchange(preference, host) for preference, host in records if host), key=lambda mx: (mx.preference, mx.host))
        )

    def srv(self, name: str, deadline: Deadline) -> Answer:
        """The places of a service, best first: by priority, then by weight (RFC 2782), the same order at every run."""
        answer = self._look_up(name, "SRV", deadline)
        places = (Service(int(record.priority), int(record.weight), int(record.port), _host(record.target)) for record in answer.records)
        return _kept(answer, sorted((place for place in places if place.target), key=lambda srv: (srv.priority, -srv.weight, srv.target)))

    def txt(self, name: str, deadline: Deadline) -> Answer:
        """The texts at a name, the strings of each record joined (RFC 7208 section 3.3)."""
        answer = self._look_up(name, "TXT", deadline)
        return _kept(answer, [b"".join(record.strings).decode("utf-8", "replace") for record in answer.records])

    def cname(self, name: str, deadline: Deadline) -> Answer:
        """The name that this one stands for, lower case; it need not be one that a host can have."""
        answer = self._look_up(name, "CNAME", deadline)
        return _kept(answer, [record.target.to_text(omit_final_dot=True).lower() for record in answer.records])

    def addresses(self, host: str, deadline: Deadline) -> list[str]:
        """The addresses of a host, both families asked side by side. Raises socket.gaierror as getaddrinfo does."""
        answers: dict[str, Answer] = {}

        def ask(kind: str) -> None:
            answers[kind] = self._look_up(host, kind, deadline)

        other = threading.Thread(target=ask, args=("AAAA",), daemon=True)
        other.start()
        ask("A")
        other.join()
        found = [str(record.address) for kind in ("AAAA", "A") for record in answers[kind].records]
        if found:
            return found
        if any(answer.status.is_temporary for answer in answers.values()):
            raise socket.gaierror(socket.EAI_AGAIN, "the name servers gave no answer")
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    def _look_up(self, name: str, kind: str, deadline: Deadline) -> Answer:
        try:
            lifetime = min(_LOOK_UP_SECONDS, deadline.remaining())
            return Answer(DnsStatus.FOUND, tuple(self._resolver.resolve(f"{name}.", kind, lifetime=lifetime)))
        except dns.resolver.NoNameservers as error:
            return Answer(_why(error))
        except (dns.exception.DNSException, OSError) as error:
            return Answer(next((status for kinds, status in _STATUS if isinstance(error, kinds)), DnsStatus.SERVER_FAILURE))


_STATUS: tuple[tuple[tuple[type[Exception], ...], DnsStatus], ...] = (
    ((dns.resolver.NXDOMAIN, dns.name.NameTooLong), DnsStatus.NO_NAME),
    ((dns.resolver.NoAnswer,), DnsStatus.NO_RECORDS),
    ((dns.resolver.LifetimeTimeout, TimeoutError), DnsStatus.TIMEOUT),
)


def configured_look_up() -> Callable[[str, Deadline], list[str]] | None:
    """How to find a host's addresses where `SMTPSETUP_NAMESERVER` names a server; None where the system finds them."""
    return Resolver().addresses if os.environ.get(NAMESERVER) else None


def _kept(answer: Answer, records: list[Any]) -> Answer:
    """The records that can be used; none of them left is as if there were none."""
    if answer.status is DnsStatus.FOUND and not records:
        return Answer(DnsStatus.NO_RECORDS)
    return Answer(answer.status, tuple(records))


def _why(error: dns.resolver.NoNameservers) -> DnsStatus:
    """What the name servers said instead of an answer; one that was reached says more than one that was not."""
    refused = False
    unreachable = True
    for _server, _tcp, _port, reason, response in error.kwargs["errors"]:
        refused = refused or (response is not None and response.rcode() == dns.rcode.REFUSED)
        unreachable = unreachable and isinstance(reason, OSError)
    if refused:
        return DnsStatus.REFUSED
    return DnsStatus.UNREACHABLE if unreachable else DnsStatus.SERVER_FAILURE


def _host(name: dns.name.Name) -> str:
    """A name from a record as a host, `"."` for the root, `""` for what no host can be called."""
    if name == dns.name.root:
        return "."
    try:
        return domain_forms(name.to_text(omit_final_dot=True))[0]
    except InvalidDomainError:
        return ""


def _host_and_port(text: str) -> tuple[str, int]:
    """`HOST[:PORT]`, with brackets round an IPv6 address that has a port behind it; a name is looked up."""
    host, port = text.strip(), ""
    if host.startswith("["):
        host, _bracket, port = host[1:].partition("]")
        port = port.removeprefix(":")
    elif host.count(":") == 1:
        host, _colon, port = host.partition(":")
    if not host or (port and not (port.isascii() and port.isdigit() and 0 < int(port) <= _HIGHEST_PORT)):
        raise _invalid(text, _("it must be HOST or HOST:PORT"))
    number = int(port) if port else _PORT
    try:
        return str(socket.getaddrinfo(host, number, type=socket.SOCK_DGRAM)[0][4][0]), number
    except (OSError, UnicodeError) as error:
        raise _invalid(text, str(error)) from error


def _invalid(text: str, reason: str) -> SmtpsetupError:
    return SmtpsetupError(
        "config.invalid",
        _("{variable} is {value}: {reason}.").format(variable=NAMESERVER, value=text, reason=reason),
        hints=(_("Give the address of a name server, for example `{variable}=9.9.9.9`, or unset it.").format(variable=NAMESERVER),),
    )
