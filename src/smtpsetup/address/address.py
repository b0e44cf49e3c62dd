"""Mail addresses: parsed, checked and normalised. No I/O; `idna` is imported only for international domains."""

from __future__ import annotations

import re
from typing import NamedTuple

from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import plain_text

_SPECIALS = frozenset("!#$%&'*+/=?^_`{|}~.-")
_LOCAL_PART_OCTETS = 64
# the fast path for nearly every address; others are checked character by character, so that the fault can be shown
_COMMON = re.compile(r"[A-Za-z0-9_+-]+(?:\.[A-Za-z0-9_+-]+)*@(?:[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*\.)+[A-Za-z]{2,}")
_DOMAIN_OCTETS = 253
_LABEL_OCTETS = 63


class Address(NamedTuple):
    """A mail address.

    `local` is as typed, `domain` is lower case with A-labels, `unicode_domain` the same with U-labels.
    """

    local: str
    domain: str
    unicode_domain: str

    def __str__(self) -> str:
        return f"{self.local}@{self.unicode_domain}"

    @property
    def wire(self) -> str:
        """The form for the envelope and headers: with A-labels, so that only the local part can need SMTPUTF8."""
        return f"{self.local}@{self.domain}"

    @property
    def mailbox(self) -> str:
        """The local part without a sub-address: `namn` for `namn+faktura` (RFC 5233)."""
        return self.local if self.local.startswith(('"', "+")) else self.local.partition("+")[0]


class MalformedAddressError(SmtpsetupError):
    """Not a valid address. `text` is what was typed, `position` is where in it the fault is."""

    def __init__(self, reason: str, text: str, position: int) -> None:
        super().__init__(
            "config.address-malformed",
            _("This is not a mail address: {reason}.").format(reason=reason),
            hints=(_("Write it as name@domain, for example info@mittforetag.se."),),
        )
        self.text = plain_text(text)
        self.position = len(plain_text(text[:position]))


def parse_address(text: str) -> Address:
    """The address in `text`. Raises MalformedAddressError (RFC 5321 section 4.1.2, RFC 6531 section 3.3)."""
    text = text.strip()
    if _COMMON.fullmatch(text) and len(text) < _LOCAL_PART_OCTETS:
        local, _at, domain = text.rpartition("@")
        return Address(local, domain.lower(), domain.lower())
    if not text:
        raise MalformedAddressError(_("it is empty"), text, 0)
    for position, char in enumerate(text):
        if not char.isprintable():
            raise MalformedAddressError(_("it contains a control character"), text, position)
    local, at = _local_part(text)
    domain, unicode_domain = _domain(text, at + 1)
    return Address(local, domain, unicode_domain)


def _local_part(text: str) -> tuple[str, int]:
    """The local part and the position of the @ after it."""
    end = _quoted_end(text) if text.startswith('"') else text.find("@")
    if end < 0:
        raise MalformedAddressError(_("there is no @ in it"), text, len(text))
    local = text[:end]
    if not local:
        raise MalformedAddressError(_("there is nothing before the @"), text, 0)
    if len(local.encode()) > _LOCAL_PART_OCTETS:
        raise MalformedAddressError(_("the part before the @ is longer than 64 bytes"), text, 0)
    if text.startswith('"'):
        if text[end : end + 1] != "@":
            raise MalformedAddressError(_("after the closing quote there must be an @"), text, end)
        return local, end
    for position, char in enumerate(local):
        if char.isascii() and not (char.isalnum() or char in _SPECIALS):
            raise MalformedAddressError(_("{char} cannot stand there").format(char=_named(char)), text, position)
    for fault in (0 if local.startswith(".") else -1, local.find(".."), end - 1 if local.endswith(".") else -1):
        if fault >= 0:
            raise MalformedAddressError(_("a dot may stand only between other characters"), text, fault)
    return local, end


def _quoted_end(text: str) -> int:
    """The position after the quoted string that `text` starts with."""
    match = re.match(r'"(?:[^"\\]|\\.)*"', text)
    if not match:
        raise MalformedAddressError(_("the quote is not closed"), text, 0)
    return match.end()


def _domain(text: str, start: int) -> tuple[str, str]:
    domain = text[start:]
    if not domain:
        raise MalformedAddressError(_("there is nothing after the @"), text, start)
    if domain.startswith("[") and re.fullmatch(r"\[(IPv6:[0-9A-Fa-f:.]+|[0-9.]+)\]", domain):
        return domain, domain
    if "@" in domain:
        raise MalformedAddressError(_("there is more than one @"), text, start + domain.index("@"))
    for position, char in enumerate(domain, start=start):
        if char.isascii() and not (char.isalnum() or char in ".-"):
            raise MalformedAddressError(_("{char} cannot stand in a domain").format(char=_named(char)), text, position)
    try:
        return domain_forms(domain)
    except InvalidDomainError as error:
        raise MalformedAddressError(error.reason, text, start + error.position) from error


class InvalidDomainError(ValueError):
    """Not a valid domain name: `reason` is in the user's language, `position` is where in the text the fault is."""

    def __init__(self, reason: str, position: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.position = position


def domain_forms(domain: str) -> tuple[str, str]:
    """A domain as A-labels and as U-labels, both lower case (IDNA 2008 with the mapping of UTS 46).

    Raises InvalidDomainError.
    """
    if domain.isascii():
        wire = domain.lower()
        _check_labels(wire)
        return wire, (_idna_decode(wire) if "xn--" in wire else wire)
    import idna  # 17 ms, only for international domains

    position = 0
    for label in re.split("[.\u3002\uff0e\uff61]", domain):
        if not label:
            raise InvalidDomainError(_("a part between the dots is empty"), position)
        try:
            idna.encode(label, uts46=True)
        except idna.IDNAError as error:
            raise _invalid_label(label, position) from error
        position += len(label) + 1
    try:
        wire = idna.encode(domain, uts46=True).decode("ascii").lower()
    except idna.IDNAError as error:
        raise InvalidDomainError(_("it is too long"), 0) from error
    _check_labels(wire)
    return wire, _idna_decode(wire)


def _idna_decode(wire: str) -> str:
    import idna

    try:
        return str(idna.decode(wire))
    except idna.IDNAError as error:
        label = next((part for part in wire.split(".") if part.startswith("xn--")), wire)
        raise _invalid_label(label, wire.index(label)) from error


def _check_labels(wire: str) -> None:
    if len(wire) > _DOMAIN_OCTETS:
        raise InvalidDomainError(_("the domain is longer than 253 characters"), 0)
    position = 0
    for label in wire.split("."):
        if not label:
            raise InvalidDomainError(
                _("a part between the dots is empty") if position else _("the domain starts with a dot"), position
            )
        if not (label.replace("-", "").isalnum() and label[0] != "-" != label[-1] and len(label) <= _LABEL_OCTETS):
            raise _invalid_label(label, position)
        position += len(label) + 1


def _invalid_label(label: str, position: int) -> InvalidDomainError:
    shown = plain_text(label[:_LABEL_OCTETS])
    return InvalidDomainError(_("{label} is not possible in a domain name").format(label=shown), position)


def _named(char: str) -> str:
    return _("a space") if char == " " else char


def ascii_lower(text: str) -> str:
    """A text with the letters A to Z in lower case: others are not folded in addresses (U+212A is no K)."""
    return "".join(char.lower() if char.isascii() else char for char in text)
