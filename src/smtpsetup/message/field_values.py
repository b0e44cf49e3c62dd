"""The values of header fields that another program wrote, made 7-bit and folded, each kind by its own rule."""

from __future__ import annotations

import re

from smtpsetup.address.address import parse_address
from smtpsetup.address.address_list import Entry, entries
from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.message.compose import Mailbox, encoded_words, written
from smtpsetup.message.message import LINE_LIMIT
from smtpsetup.message.mime import percent_encoded

_ADDRESS_FIELDS = {
    "from",
    "to",
    "cc",
    "reply-to",
    "sender",
    "resent-from",
    "resent-to",
    "resent-cc",
    "resent-sender",
    "resent-reply-to",
}
ID_FIELDS = {"message-id", "in-reply-to", "references", "resent-message-id", "content-id"}
_LONGEST_WORD = 200  # characters
_MOST_DECODED = 10_000  # characters of encoded words: `email` takes time with the square of their number
_PARAMETER_FIELDS = {"content-type", "content-disposition"}
_WORD = r"=\?[^?\s]+\?[bBqQ]\?[^?\s]*\?="
_WORDS = rf"{_WORD}(?:\s+{_WORD})*"
_PARAMETER = r""";\s*([^\s=;"]+)\s*=\s*(?:("(?:[^"\\]|\\.)*"?)|([^;]*))"""


def wire_value(name: str, value: str) -> str:
    """A field's value as it is sent: ASCII but for internationalized addresses, no line beyond the limit."""
    key = name.lower()
    if key in _ADDRESS_FIELDS and not (value.isascii() and len(value) < LINE_LIMIT - 250):
        try:
            return ",\r\n ".join(_entry(entry) for entry in entries(value)) or "undisclosed-recipients:;"
        except SmtpsetupError:
            return text_in_list(name, value)
    if not value.isascii():
        if key in _PARAMETER_FIELDS:
            return _with_parameters(value)
        if key not in ID_FIELDS and not key.startswith("list-"):
            return encoded_words(name, decoded_words(value))
        value = _identifiers(name, value)
    return _folded(name, value)


def text_in_list(name: str, text: str) -> str:
    """What cannot be understood in a list of addresses: encoded, it is text and no longer read as an address."""
    return encoded_words(name, decoded_words(" ".join(text.split())), is_encoded=True)


def _identifiers(name: str, value: str) -> str:
    """What can be said in ASCII of message identifiers (RFC 5322 section 3.6.4) and List- fields (RFC 2369, 2919)."""
    if name.lower() in ID_FIELDS:
        return " ".join(word for word in re.findall(r"<[^<>\s]*>", value) if word.isascii())
    if name.lower() == "list-id":
        phrase, bracket, rest = value.rpartition("<")
        words = encoded_words(name, phrase.strip()).replace("\r\n ", " ")  # the caller folds
        return f"{words} {(bracket + rest).encode('ascii', 'ignore').decode()}".strip()
    return "".join(char if char.isascii() else percent_encoded(char) for char in value)


def decoded_words(text: str) -> str:
    """A text with its encoded words (RFC 2047) decoded; what cannot be decoded, or is too long, stays as it is."""
    if "=?" not in text:
        return text
    from email.errors import MessageError
    from email.header import decode_header, make_header

    def decoded(match: re.Match[str]) -> str:
        if len(match[0]) > _MOST_DECODED:
            return match[0]
        try:
            found = str(make_header(decode_header(match[0])))
            return without_controls(found.encode("utf-8", "replace").decode())  # UTF-7 has surrogates
        except (MessageError, LookupError, UnicodeError, ValueError):
            return match[0]

    return re.sub(_WORDS, decoded, text)


def display_name(text: str) -> str:
    """A name with its encoded words decoded, `""` where they cannot be."""
    found = " ".join(decoded_words(text).split())
    return "" if "=?" in found and re.search(_WORDS, found) else found


def without_controls(text: str) -> str:
    """The text with a blank for each control character."""
    return "".join(" " if char < " " or "\x7f" <= char <= "\x9f" or char in "\u2028\u2029" else char for char in text)


def _with_parameters(value: str) -> str:
    """A Content-Type or Content-Disposition, its parameters beyond ASCII as RFC 2231 section 4 writes them."""
    from email.utils import collapse_rfc2231_value, decode_params

    kind, semicolon, rest = value.partition(";")
    given = [(match[1], match[2] or match[3].strip()) for match in re.finditer(_PARAMETER, semicolon + rest)]
    lines = [kind.encode("ascii", "ignore").decode().strip()[:_LONGEST_WORD]]
    read: dict[str, str] = {}
    for name, words in decode_params([("", ""), *given])[1:]:
        if isinstance(words, tuple) or name.lower() not in read:  # the encoded one of two names is meant
            read[name.lower()] = collapse_rfc2231_value(words)
    for name, words in read.items():
        if name.isascii() and len(name) <= _LONGEST_WORD:
            lines += _parameter(name, words)
    return ";\r\n ".join(lines)


def _parameter(name: str, words: str) -> list[str]:
    """A parameter, in several parts where it is long (RFC 2231 section 3)."""
    if words.isascii() and words.isprintable() and len(words) <= _LONGEST_WORD:
        text = re.sub(r'(["\\])', r"\\\1", words)
        return [f'{name}="{text}"']
    parts = re.findall(rf"(?:%..|[^%]){{1,{_LONGEST_WORD}}}", percent_encoded(words))
    if len(parts) == 1:
        return [f"{name}*=utf-8''{parts[0]}"]
    return [f"{name}*{number}*={'' if number else 'utf-8' + chr(39) * 2}{part}" for number, part in enumerate(parts)]


def _entry(entry: Entry) -> str:
    name = display_name(entry.name)
    try:
        return written(Mailbox(name, parse_address(entry.address)))
    except SmtpsetupError:
        return text_in_list("To", f"{name} {entry.address}")


def _folded(name: str, value: str) -> str:
    """A value folded at blanks into lines of at most 78 characters; a longer word is cut at the limit of RFC 5322."""
    lines: list[str] = []
    line = ""
    room = 76 - len(name)
    for word in value.split(" "):
        if line and len(line) + 1 + len(word) > room:
            lines.append(line)
            line, room = word, 76
        else:
            line = f"{line} {word}" if line or not lines else word
    lines.append(line)
    most = LINE_LIMIT - 250  # a name has at most 200 characters
    cut = (line[start : start + most] for line in lines for start in range(0, max(1, len(line)), most))
    return "\r\n ".join(part for part in cut if part.strip()).strip()
