"""What the domain name system says, every kind of silence told apart. Only this module knows dnspython."""

from __future__ import annotations

import contextlib
import ipaddress
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

from smtpsetup.address.address import InvalidDomainError, domain_forms
from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import plain_text
from smtpsetup.net import dial

if TYPE_CHECKING:
    from smtpsetup.net.dial import Deadline, LookUp

NAMESERVER = "SMTPSETUP_NAMESERVER"
_PORT = 53
_HIGHEST_PORT = 65535
_TRY_SECONDS = 2.0  # for one name server, before the next one is asked
_LOOK_UP_SECONDS = 4.0  # less than a source has (search.py), so that it learns how the look-up ended
_SHARE = 0.9  # of the time that is left, for the same reason
_MOST = 20  # records of one answer that are kept


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
class DnsAnswer:
    """What came back; `records` are MailExchange, Service or str, by what was asked for, and empty unless found."""

    status: DnsStatus
    records: tuple[Any, ...] = ()


class Resolver:
    """The system's name servers, or the one that `SMTPSETUP_NAMESERVER` names.

    Names are absolute: no search list is applied.

    Raises SmtpsetupError: `config.invalid` for a value of that variable which cannot be one, `dns.temporary` for a name
    that cannot be looked up.
    """

    def __init__(self, deadline: Deadline) -> None:
        chosen = os.environ.get(NAMESERVER)
        self.is_chosen = bool(chosen)
        if chosen:
            host, port = _host_and_port(chosen, deadline)
            self._resolver = dns.resolver.Resolver(configure=False)
            self._resolver.nameservers, self._resolver.port = [host], port
        else:
            self._resolver = _system_resolver()
        self._resolver.timeout = _TRY_SECONDS

    def mx(self, domain: str, deadline: Deadline) -> DnsAnswer:
        """Where a domain's mail goes, the most preferred host first.

        Hosts with names that cannot be ones are left out.
        """
        answer = self._look_up(domain, "MX", deadline)
        records = (
            (int(record.preference), _host(record.exchange, may_have_underscores=True)) for record in answer.records
        )
        return _kept(
            answer,
            sorted(
                (MailExchange(preference, host) for preference, host in records if host),
                key=lambda mx: (mx.preference, mx.host),
            ),
        )

    def srv(self, name: str, deadline: Deadline) -> DnsAnswer:
        """The places of a service, best first: by priority, then by weight (RFC 2782), the same order at every run."""
        answer = self._look_up(name, "SRV", deadline)
        places = (
            Service(int(record.priority), int(record.weight), int(record.port), _host(record.target))
            for record in answer.records
        )
        return _kept(
            answer,
            sorted(
                (place for place in places if place.target), key=lambda srv: (srv.priority, -srv.weight, srv.target)
            ),
        )

    def txt(self, name: str, deadline: Deadline) -> DnsAnswer:
        """The texts at a name, the strings of each record joined (RFC 7208 section 3.3)."""
        answer = self._look_up(name, "TXT", deadline)
        return _kept(answer, [b"".join(record.strings).decode("utf-8", "replace") for record in answer.records])

    def cname(self, name: str, deadline: Deadline) -> DnsAnswer:
        """The name that this one stands for, lower case; it need not be one that a host can have."""
        answer = self._look_up(name, "CNAME", deadline)
        return _kept(answer, [record.target.to_text(omit_final_dot=True).lower() for record in answer.records])

    def addresses(self, host: str, deadline: Deadline) -> list[str]:
        """The addresses of a host, both families asked side by side. Raises socket.gaierror as getaddrinfo does."""
        answers: dict[str, DnsAnswer] = {}

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

    def _look_up(self, name: str, kind: str, deadline: Deadline) -> DnsAnswer:
        try:
            lifetime = min(_LOOK_UP_SECONDS, deadline.remaining() * _SHARE)
            return DnsAnswer(DnsStatus.FOUND, tuple(self._resolver.resolve(f"{name}.", kind, lifetime=lifetime)))
        except dns.resolver.NoNameservers as error:
            return DnsAnswer(_why(error))
        except (dns.exception.DNSException, OSError) as error:
            return DnsAnswer(
                next((status for kinds, status in _STATUS if isinstance(error, kinds)), DnsStatus.SERVER_FAILURE)
            )


_STATUS: tuple[tuple[tuple[type[Exception], ...], DnsStatus], ...] = (
    ((dns.resolver.NXDOMAIN, dns.name.NameTooLong), DnsStatus.NO_NAME),
    ((dns.resolver.NoAnswer,), DnsStatus.NO_RECORDS),
    ((dns.resolver.LifetimeTimeout, TimeoutError), DnsStatus.TIMEOUT),
)


def configured_look_up(deadline: Deadline) -> LookUp | None:
    """How to find a host's addresses where `SMTPSETUP_NAMESERVER` names a server; None where the system finds them.

    Raises as Resolver.
    """
    return Resolver(deadline).addresses if os.environ.get(NAMESERVER) else None


def _system_resolver() -> dns.resolver.Resolver:
    """As resolv.conf has it; a line in it that cannot be read is passed over, as the C library does."""
    try:
        return dns.resolver.Resolver()
    except (dns.exception.DNSException, OSError, ValueError):
        resolver = dns.resolver.Resolver(configure=False)
    servers = []
    with contextlib.suppress(OSError), open("/etc/resolv.conf", encoding="utf-8", errors="replace") as file:
        for line in file:
            words = line.split()
            if len(words) > 1 and words[0] == "nameserver" and _is_address(words[1]):
                servers.append(words[1])
    resolver.nameservers = servers or ["127.0.0.1"]  # where it is told nothing, as resolv.conf(5) has it
    return resolver


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _kept(answer: DnsAnswer, records: list[Any]) -> DnsAnswer:
    """The records that can be used; none of them left is as if there were none."""
    if answer.status is DnsStatus.FOUND and not records:
        return DnsAnswer(DnsStatus.NO_RECORDS)
    return DnsAnswer(answer.status, tuple(records[:_MOST]))


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


def _host(name: dns.name.Name, *, may_have_underscores: bool = False) -> str:
    """A name from a record as a host on the internet, `"."` for the root, `""` for what no such host can be called."""
    if name == dns.name.root:
        return "."
    text = name.to_text(omit_final_dot=True).lower()
    try:
        host = domain_forms(text.replace("_", "-") if may_have_underscores else text)[0]
    except InvalidDomainError:
        return ""
    last = host.rpartition(".")[2]
    if "." not in host or last.isdigit() or last == "localhost":
        return ""
    return text if may_have_underscores else host


def _host_and_port(text: str, deadline: Deadline) -> tuple[str, int]:
    """`HOST[:PORT]`, with brackets round an IPv6 address that has a port behind it; a name is looked up."""
    host, port = text.strip(), ""
    if host.startswith("["):
        host, _bracket, port = host[1:].partition("]")
        port = port.removeprefix(":")
    elif host.count(":") == 1:
        host, _colon, port = host.partition(":")
    if not host or (
        port
        and not (
            port.isascii()
            and port.isdigit()
            and len(port) <= len(str(_HIGHEST_PORT))
            and 0 < int(port) <= _HIGHEST_PORT
        )
    ):
        raise _invalid(text, _("it must be HOST or HOST:PORT"))
    number = int(port) if port else _PORT
    try:
        return str(dial.resolve(host, number, deadline.at_most(_LOOK_UP_SECONDS))[0][1][0]), number
    except (OSError, UnicodeError) as error:
        if isinstance(error, TimeoutError) or (isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN):
            raise SmtpsetupError(
                "dns.temporary",
                _("The name server {host} could not be looked up at the moment.").format(host=plain_text(host)),
                hints=(
                    _("Give its IP address in {variable} instead of its name, or unset it.").format(
                        variable=NAMESERVER
                    ),
                ),
            ) from error
        raise _invalid(text, plain_text(str(error))) from error


def _invalid(text: str, reason: str) -> SmtpsetupError:
    return SmtpsetupError(
        "config.invalid",
        _("{variable} is {value}: {reason}.").format(variable=NAMESERVER, value=plain_text(text), reason=reason),
        hints=(
            _("Give the address of a name server, for example `{variable}=9.9.9.9`, or unset it.").format(
                variable=NAMESERVER
            ),
        ),
    )
