"""MIME entities (RFC 2045, 2046, 2183), whose content is encoded while it is read."""

from __future__ import annotations

import binascii
import os
import re
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from smtpsetup.message.message import LINE_LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_MOST_BEYOND_ASCII = 5  # at most one character in five, or base64 is shorter than quoted-printable
_BASE64_LINE = 57  # bytes, which make 76 letters (RFC 2045 section 6.8)
BASE64_CHUNK = _BASE64_LINE * 1024  # bytes
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_PLAIN_NAME = r"(?=[^ ])(?!.*=\?)[ !#-\[\]-~]{1,200}(?<! )"  # no quotes, backslashes and encoded words
_ATTRIBUTE_CHARS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._+-"


class Entity(NamedTuple):
    """Header fields, each with its CRLF, and content whose `size` in bytes is known before it is read."""

    fields: str
    size: int
    content: Callable[[], Iterator[bytes]]


def text(subtype: str, words: str) -> Entity:
    """A text: as 7bit where that is possible, else as quoted-printable or base64, whichever is shorter."""
    words = words.replace("\r\n", "\n")
    if words and not words.endswith("\n"):
        words += "\n"
    charset = "us-ascii" if words.isascii() else "utf-8"
    encoding, content = _encoded(words)
    fields = f'Content-Type: text/{subtype}; charset="{charset}"\r\nContent-Transfer-Encoding: {encoding}\r\n'
    return Entity(fields, len(content), lambda: iter((content,)))


def _encoded(words: str) -> tuple[str, bytes]:
    data = words.encode()
    if words.isascii() and not _CONTROLS.search(words) and all(len(line) <= LINE_LIMIT for line in words.split("\n")):
        return "7bit", data.replace(b"\n", b"\r\n")
    beyond_ascii = len(words) - len(words.encode("ascii", "ignore"))
    if beyond_ascii * _MOST_BEYOND_ASCII < len(words) and b"\r" not in data:
        # a line break in quoted-printable text is one (RFC 2045 section 6.7, rule 4)
        lines = (binascii.b2a_qp(line, istext=True).replace(b"=\n", b"=\r\n") for line in data.split(b"\n"))
        return "quoted-printable", b"\r\n".join(lines)
    return "base64", base64_lines(data.replace(b"\n", b"\r\n"))


def file(  # noqa: PLR0913  what a part says of its file
    content_type: str,
    name: str,
    open_file: Callable[[], BinaryIO],
    size: int,
    *,
    charset: str = "",
    content_id: str = "",
) -> Entity:
    """A file of `size` bytes in base64, read when it is sent.

    `content_id` is set for one that the HTML part shows (RFC 2392). Reading the content raises OSError where the file
    has another size by then.
    """
    parameters = f'; charset="{charset}"' if charset else ""
    disposition = "inline" if content_id else "attachment"
    fields = f"Content-Type: {content_type}{parameters}\r\nContent-Transfer-Encoding: base64\r\n"
    fields += f"Content-Disposition: {disposition};\r\n {_file_name(name)}\r\n"
    if content_id:
        fields += f"Content-ID: <{content_id}>\r\n"
    lines = -(-size // _BASE64_LINE)
    return Entity(fields, -(-size // 3) * 4 + 2 * lines, lambda: _base64(open_file, size, name))


def _file_name(name: str) -> str:
    """The parameter with a file's name (RFC 2183 section 2.3; RFC 2231 section 4 for what is not plain)."""
    return f'filename="{name}"' if re.fullmatch(_PLAIN_NAME, name) else f"filename*=utf-8''{percent_encoded(name)}"


def percent_encoded(text: str) -> str:
    """A text in UTF-8 as a parameter's value has it (RFC 2231 section 4), without characters that readers confuse."""
    return "".join(chr(byte) if chr(byte) in _ATTRIBUTE_CHARS else f"%{byte:02X}" for byte in text.encode())


def _base64(open_file: Callable[[], BinaryIO], size: int, name: str) -> Iterator[bytes]:
    left = size
    with open_file() as opened:
        while left > 0:
            data = opened.read(min(BASE64_CHUNK, left))
            left -= len(data)
            if left > 0 and len(data) < BASE64_CHUNK:
                raise OSError(0, "it became shorter while it was sent", name)
            yield base64_lines(data)
        if opened.read(1):
            raise OSError(0, "it became longer while it was sent", name)


def base64_lines(data: bytes) -> bytes:
    """Data as lines of base64 (RFC 2045 section 6.8). All pieces but the last must be a multiple of BASE64_CHUNK."""
    encoded = binascii.b2a_base64(data, newline=False)
    return b"".join([encoded[start : start + 76] + b"\r\n" for start in range(0, len(encoded), 76)])


def multipart(subtype: str, parts: list[Entity]) -> Entity:
    """Several entities in one (RFC 2046 section 5.1)."""
    boundary = os.urandom(16).hex()
    start, end = f"--{boundary}\r\n".encode(), f"--{boundary}--\r\n".encode()
    heads = [start + part.fields.encode() + b"\r\n" for part in parts]

    def content() -> Iterator[bytes]:
        for head, part in zip(heads, parts, strict=True):
            yield head
            yield from part.content()
            yield b"\r\n"
        yield end

    size = sum(len(head) + part.size + 2 for head, part in zip(heads, parts, strict=True)) + len(end)
    return Entity(f'Content-Type: multipart/{subtype};\r\n boundary="{boundary}"\r\n', size, content)
