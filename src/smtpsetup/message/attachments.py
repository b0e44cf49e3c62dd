"""Files that go along with a mail: looked at before, read while it is sent."""

from __future__ import annotations

import codecs
import io
import os
import stat
from typing import TYPE_CHECKING, BinaryIO

from smtpsetup.message import compose
from smtpsetup.state import input_file

if TYPE_CHECKING:
    from collections.abc import Iterable

    from smtpsetup.message.compose import Attachment

_CHUNK = 65_536  # bytes


def from_file(path: str, *, content_id: str = "") -> Attachment:
    """A file as an attachment.

    Raises OSError where it cannot be read, SmtpsetupError where its name cannot stand in a header.

    What is no regular file, such as a pipe, can be read only once and is read now.
    """
    info = os.stat(path)
    if not stat.S_ISREG(info.st_mode):
        return from_bytes(path, input_file.read(path), content_id=content_id)
    with open(path, "rb"):  # who may not read it is told now
        path = os.path.abspath(path)
    return compose.attachment(
        path, lambda: _reopened(path, info), info.st_size, content_id=content_id, is_utf8=lambda: _is_utf8(path)
    )


def from_bytes(path: str, data: bytes, *, content_id: str = "") -> Attachment:
    """What has been read already, as an attachment with the last part of `path` for its name."""

    def open_data() -> BinaryIO:
        return io.BytesIO(data)

    return compose.attachment(path, open_data, len(data), content_id=content_id, is_utf8=lambda: _decodes([data]))


def _reopened(path: str, seen: os.stat_result) -> BinaryIO:
    """The file that was looked at.

    Raises OSError where another one, or a pipe that would be waited for, is in its place now.
    """
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    info = os.fstat(handle)
    if (info.st_dev, info.st_ino, info.st_size) != (seen.st_dev, seen.st_ino, seen.st_size):
        os.close(handle)
        raise OSError(0, "it is another file now", path)
    return os.fdopen(handle, "rb")


def _is_utf8(path: str) -> bool:
    with open(path, "rb") as file:
        return _decodes(iter(lambda: file.read(_CHUNK), b""))


def _decodes(chunks: Iterable[bytes]) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for chunk in chunks:
            decoder.decode(chunk)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True
