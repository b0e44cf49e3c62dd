"""The grammar of a submission server: the paths of MAIL and RCPT with their parameters, and replies (RFC 5321)."""

from __future__ import annotations

import functools
import re
import unicodedata
from typing import TYPE_CHECKING, NamedTuple

from smtpsetup.core.exit_codes import EX_NOUSER, EX_TEMPFAIL

if TYPE_CHECKING:
    from collections.abc import Mapping

    from smtpsetup.core.errors import SmtpsetupError

_PATH = re.compile(r"(?i:(FROM|TO)):\s*<((?:[^<>\"]|\"(?:[^\"\\]|\\.)*\")*)>(?:\s+(.*))?$")
_BARE_PATH = re.compile(r"(?i:(FROM|TO)):\s*([^\s<>]+)(?:\s+(.*))?$")
_PARAMETERS = {"FROM": ("SIZE", "BODY", "SMTPUTF8", "AUTH", "RET", "ENVID"), "TO": ("NOTIFY", "ORCPT")}


class Reply(NamedTuple):
    """A reply: its code, its enhanced status code (RFC 3463) or `""`, and its lines."""

    code: int
    status: str
    text: str

    @property
    def wire(self) -> bytes:
        """The reply as it is sent, in ASCII."""
        return _wire(self)


@functools.lru_cache(maxsize=64)
def _wire(reply: Reply) -> bytes:
    status = f"{reply.status} " if reply.status else ""
    lines = [f"{status}{line}" for line in reply.text.splitlines() or [""]]
    marks = ["-"] * (len(lines) - 1) + [" "]
    text = "".join(f"{reply.code}{mark}{line}\r\n" for mark, line in zip(marks, lines, strict=True))
    return text.encode("ascii", "replace")


OK = Reply(250, "2.0.0", "Ok")
BAD_SEQUENCE = Reply(503, "5.5.1", "Bad sequence of commands")
BAD_SYNTAX = Reply(501, "5.5.4", "Syntax error in the parameters")


class Path(NamedTuple):
    """The address of MAIL or RCPT, `""` for the null sender, and the parameters by their names in upper case."""

    address: str
    parameters: Mapping[str, str]


def path_of(keyword: str, words: str) -> Path | Reply:
    """The path in the words of MAIL (`FROM`) or RCPT (`TO`), else the reply that refuses it."""
    match = _PATH.fullmatch(words) or _BARE_PATH.fullmatch(words)
    if not match or match[1].upper() != keyword or any(not char.isprintable() for char in match[2]):
        return BAD_SYNTAX
    parameters = {}
    for parameter in (match[3] or "").split():
        name, _equals, value = parameter.partition("=")
        if name.upper() not in _PARAMETERS[keyword]:
            return Reply(555, "5.5.4", f"The parameter {name[:40]} is not supported")
        parameters[name.upper()] = value
    route, colon, address = match[2].rpartition(":")
    # a source route is ignored (RFC 5321 appendix C)
    return Path(address if colon and route.startswith("@") else match[2], parameters)


def refusal_of(error: SmtpsetupError) -> Reply:
    """An error as a reply, in ASCII as clients without SMTPUTF8 need it (RFC 6531 section 3.7.4.2)."""
    if error.exit_code == EX_TEMPFAIL:
        code, status = 451, "4.3.0"
    elif error.exit_code == EX_NOUSER:
        code, status = 550, "5.1.1"
    elif error.code == "config.address-malformed":
        code, status = 553, "5.1.3"
    else:
        code, status = 554, "5.3.0"
    lines = [f"{error.message} ({error.code})", *error.hints]
    return Reply(code, status, unicodedata.normalize("NFKD", "\n".join(lines)).encode("ascii", "ignore").decode())
