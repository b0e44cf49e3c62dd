"""DNS look-ups that distinguish every kind of failure. Only this module uses dnspython."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
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
    from smtpsetup.net.dial import Deadline

_PORT = 53
_HIGHEST_PORT = 65535
_TRY_SECONDS = 2.0  # for one name server, before the next one is asked
_LOOK_UP_SECONDS = 4.0  # less than a source has (discovery/search.py), so that it gets the status of the look-up
_SHARE = 0.9  # of the remaining time, for the same reason
_MAX_RECORDS = 20  # of one answer


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
        """Whether the same query may be answered later."""
        return self not in (DnsStatus.FOUND, DnsStatus.NO_NAME, DnsStatus.NO_RECORDS)


@dataclass(frozen=True, slots=True)
class MailExchange:
    """An MX record. `host` is `"."` if the domain accepts no mail (null MX, RFC 7505)."""

    preference: int
    host: str


@dataclass(frozen=True, slots=True)
class Service:
    """An SRV record. `target` is `"."` if the service is not offered (RFC 2782)."""

    priority: int
    weight: int
    port: int
    target: str


@dataclass(frozen=True, slots=True)
class DnsAnswer:
    """The result of a look-up. `records` are MailExchange, Service or str, by the query; empty unless FOUND."""

    status: DnsStatus
    records: tuple[Any, ...] = ()


class Resolver:
    """The system's name servers, or the one in `SMTPSETUP_NAMESERVER`. Names are absolute: no search list is used.

    Raises SmtpsetupError: `config.invalid` for an invalid value of that variable, `dns.temporary` if the name in it
    cannot be looked up now.
    """

    def __init__(self, deadline: Deadline) -> None:
        chosen = os.environ.get(dial.NAMESERVER)
        self.is_chosen = bool(chosen)
        if chosen:
            host, port = _host_and_port(chosen, deadline)
            self._resolver = dns.resolver.Resolver(configure=False)
            self._resolver.nameservers, self._resolver.port = [host], port
        else:
            self._resolver = _system_resolver()
        self._resolver.timeout = _TRY_SECONDS

    def mx(self, domain: str, deadline: Deadline) -> DnsAnswer:
        """The MX hosts of a domain, the most preferred first. Invalid host names are left out."""
        answer = self._look_up(domain, "MX", deadline)
        found = (
            MailExchange(int(record.preference), _host(record.exchange, may_have_underscores=True))
            for record in answer.records
        )
        return _kept(answer, sorted((mx for mx in found if mx.host), key=lambda mx: (mx.preference, mx.host)))

    def srv(self, name: str, deadline: Deadline) -> DnsAnswer:
        """The servers of a service, by priority, then by weight; unlike in RFC 2782, the order is not random."""
        answer = self._look_up(name, "SRV", deadline)
        found = (
            Service(int(record.priority), int(record.weight), int(record.port), _host(record.target))
            for record in answer.records
        )
        usable = (service for service in found if service.target)
        return _kept(answer, sorted(usable, key=lambda srv: (srv.priority, -srv.weight, srv.target)))

    def txt(self, name: str, deadline: Deadline) -> DnsAnswer:
        """The TXT records of a name, the strings of each joined (RFC 7208 section 3.3)."""
        answer = self._look_up(name, "TXT", deadline)
        return _kept(answer, [b"".join(record.strings).decode("utf-8", "replace") for record in answer.records])

    def cname(self, name: str, deadline: Deadline) -> DnsAnswer:
        """The target of an alias in lower case; it need not be a valid host name."""
        answer = self._look_up(name, "CNAME", deadline)
        return _kept(answer, [record.target.to_text(omit_final_dot=True).lower() for record in answer.records])

    def addresses(self, host: str, deadline: Deadline) -> list[str]:
        """The addresses of a host; both families are queried in parallel. Raises socket.gaierror like getaddrinfo."""
        answers: dict[str, DnsAnswer] = {}

        def query(kind: str) -> None:
            answers[kind] = self._look_up(host, kind, deadline)

        thread = threading.Thread(target=query, args=("AAAA",), daemon=True)
        thread.start()
        query("A")
        thread.join()
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
            return DnsAnswer(_status_of(error))
        except (dns.exception.DNSException, OSError) as error:
            return DnsAnswer(
                next((status for kinds, status in _STATUS if isinstance(error, kinds)), DnsStatus.SERVER_FAILURE)
            )


_STATUS: tuple[tuple[tuple[type[Exception], ...], DnsStatus], ...] = (
    ((dns.resolver.NXDOMAIN, dns.name.NameTooLong), DnsStatus.NO_NAME),
    ((dns.resolver.NoAnswer,), DnsStatus.NO_RECORDS),
    ((dns.resolver.LifetimeTimeout, TimeoutError), DnsStatus.TIMEOUT),
)


def _system_resolver() -> dns.resolver.Resolver:
    """The name servers in resolv.conf; invalid lines are ignored, as the C library does."""
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
    resolver.nameservers = servers or ["127.0.0.1"]  # the default of resolv.conf(5)
    return resolver


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _kept(answer: DnsAnswer, records: list[Any]) -> DnsAnswer:
    """The answer with only the usable records: NO_RECORDS if none are left."""
    if answer.status is DnsStatus.FOUND and not records:
        return DnsAnswer(DnsStatus.NO_RECORDS)
    return DnsAnswer(answer.status, tuple(records[:_MAX_RECORDS]))


def _status_of(error: dns.resolver.NoNameservers) -> DnsStatus:
    """How the name servers failed: one that refused decides, then one that was reached."""
    refused = False
    unreachable = True
    for _server, _tcp, _port, reason, response in error.kwargs["errors"]:
        refused = refused or (response is not None and response.rcode() == dns.rcode.REFUSED)
        unreachable = unreachable and isinstance(reason, OSError)
    if refused:
        return DnsStatus.REFUSED
    return DnsStatus.UNREACHABLE if unreachable else DnsStatus.SERVER_FAILURE


def _host(name: dns.name.Name, *, may_have_underscores: bool = False) -> str:
    """The name in a record as a public host name; `"."` for the root, `""` if it is not valid."""
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
    """The address and port in `HOST[:PORT]`. An IPv6 address with a port is in brackets; a name is looked up."""
    host, port = text.strip(), ""
    if host.startswith("["):
        host, _bracket, port = host[1:].partition("]")
        port = port.removeprefix(":")
    elif host.count(":") == 1:
        host, _colon, port = host.partition(":")
    is_port = re.fullmatch("[0-9]{1,5}", port) and 0 < int(port) <= _HIGHEST_PORT
    if not host or (port and not is_port):
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
                        variable=dial.NAMESERVER
                    ),
                ),
            ) from error
        raise _invalid(text, plain_text(str(error))) from error


def _invalid(text: str, reason: str) -> SmtpsetupError:
    return SmtpsetupError(
        "config.invalid",
        _("{variable} is {value}: {reason}.").format(variable=dial.NAMESERVER, value=plain_text(text), reason=reason),
        hints=(
            _("Give the address of a name server, for example `{variable}=9.9.9.9`, or unset it.").format(
                variable=dial.NAMESERVER
            ),
        ),
    )
