"""The location and content of `clientConfig` files (draft-ietf-mailmaint-autoconfig)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote
from xml.etree import ElementTree

from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import Auth, Security, plain_text
from smtpsetup.discovery.fetch import FetchError
from smtpsetup.discovery.settings import Setting, UnusableError, best_first, filled, server_named

if TYPE_CHECKING:
    from smtpsetup.address.address import Address
    from smtpsetup.discovery.fetch import Document, Fetcher
    from smtpsetup.net.dial import Deadline

# Thunderbird's database, and its address in the draft, which is asked if the first cannot be reached
DATABASES = ("https://autoconfig.thunderbird.net/v1.1/{domain}", "https://v1.ispdb.net/{domain}")
_SECURITY = {"SSL": Security.TLS, "STARTTLS": Security.STARTTLS, "plain": Security.NONE}
_AUTH = {
    "password-cleartext": Auth.PASSWORD,
    "plain": Auth.PASSWORD,
    "password-encrypted": Auth.PASSWORD,
    "secure": Auth.PASSWORD,
    "OAuth2": Auth.OAUTH2,
    "none": Auth.NONE,
    "client-IP-address": Auth.NONE,
}
_REASONS = 5  # at most, in the error for one file
_DEPTH = 16  # the format needs 4
_ADDRESS_REQUIRED = 400  # HTTP status of a server that does not answer without the address


def own_url(domain: str) -> str:
    """The URL of a domain's own file."""
    return f"https://autoconfig.{domain}/mail/config-v1.1.xml"


def well_known_url(domain: str) -> str:
    """The alternative URL of a domain's own file."""
    return f"https://{domain}/.well-known/autoconfig/mail/config-v1.1.xml"


def fetch_own(url: str, address: Address, fetcher: Fetcher, deadline: Deadline) -> Document:
    """Fetch a domain's own file. Its server alone gets the address, and only if it requires it. Raises FetchError."""
    try:
        return fetcher.get(url, deadline)
    except FetchError as error:
        if error.status != _ADDRESS_REQUIRED:
            raise
    return fetcher.get(f"{url}?emailaddress={quote(address.wire, safe='')}", deadline)


def settings(body: bytes, address: Address) -> list[Setting]:
    """The outgoing servers of a file, best first. Raises UnusableError if it names none that can be used."""
    found: list[Setting] = []
    reasons: list[str] = []
    for element in _root(body).iterfind("./emailProvider/outgoingServer"):
        if element.get("type") != "smtp":
            continue
        try:
            found.append(_setting(element, address))
        except UnusableError as error:
            reasons.append(str(error))
    if not found:
        raise UnusableError("; ".join(reasons[:_REASONS]) or _("it names no outgoing server"))
    return best_first(found)


def _setting(element: ElementTree.Element, address: Address) -> Setting:
    kind = _text(element, "socketType")
    security = _SECURITY.get(kind)
    if security is None:
        raise UnusableError(_("the security {kind} is unknown").format(kind=plain_text(kind) or "-"))
    digits = _text(element, "port")
    port = int(digits) if re.fullmatch(r"[0-9]{1,5}", digits) else 0
    server = server_named(filled(_text(element, "hostname"), address, in_host=True), port, security)
    names = [(child.text or "").strip() for child in element.iterfind("authentication")]
    auth = tuple(dict.fromkeys(_AUTH[name] for name in names if name in _AUTH))
    if names and not auth:
        raise UnusableError(
            _("{host} wants {auth}, which this program does not know").format(
                host=server.host, auth=plain_text(", ".join(names))
            )
        )
    username = _text(element, "username")
    return Setting(server, filled(username, address) if username else None, auth)


def _text(element: ElementTree.Element, name: str) -> str:
    return (element.findtext(name) or "").strip()


class _Builder(ElementTree.TreeBuilder):
    """Builds the tree, but refuses deep nesting, and a document type, without which no entity can be expanded."""

    def __init__(self) -> None:
        super().__init__()
        self._depth = 0

    def doctype(self, _name: str, _public: str | None, _system: str | None) -> None:
        raise UnusableError(_("it has a document type, which no settings need"))

    def start(self, tag: str, attrs: dict[str, str]) -> ElementTree.Element:
        self._depth += 1
        if self._depth > _DEPTH:
            raise UnusableError(_("it is nested too deeply"))
        return super().start(tag, attrs)

    def end(self, tag: str) -> ElementTree.Element:
        self._depth -= 1
        return super().end(tag)


def _root(body: bytes) -> ElementTree.Element:
    parser = ElementTree.XMLParser(target=_Builder())  # noqa: S314  `_Builder` refuses what makes the parser dangerous
    try:
        parser.feed(body)
        root: ElementTree.Element = parser.close()
    except UnusableError:
        raise
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        raise UnusableError(_("it is not a settings file")) from error
    if root.tag != "clientConfig":
        raise UnusableError(_("it is not a settings file"))
    return root
