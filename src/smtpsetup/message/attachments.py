"""Attached files: checked before the mail is sent, read while it is."""

from __future__ import annotations

import io
import os
import stat
from typing import TYPE_CHECKING, BinaryIO

from smtpsetup.message import compose
from smtpsetup.message.message import is_utf8
from smtpsetup.state import input_file

if TYPE_CHECKING:
    from smtpsetup.message.compose import Attachment

_CHUNK = 65_536  # bytes


def from_file(path: str, *, content_id: str = "", within: str = "") -> Attachment:
    """A file as an attachment. A pipe can be read only once, and is read now.

    `within` is the directory, without links, that it must be below whenever it is opened, `""` for anywhere. Raises
    OSError where it cannot be read, SmtpsetupError where its name cannot be put into a header.
    """
    if not within and not stat.S_ISREG(os.stat(path).st_mode):
        return from_bytes(path, input_file.read(path), content_id=content_id)
    handle = _opened(path, within)  # an error of permissions is reported before anything is sent
    try:
        info = os.fstat(handle)
    finally:
        os.close(handle)
    if not stat.S_ISREG(info.st_mode):
        raise OSError(0, "it is not a regular file", path)
    path = os.path.abspath(path)
    return compose.attachment(
        path,
        lambda: _reopened(path, within, info),
        info.st_size,
        content_id=content_id,
        is_utf8=lambda: _is_utf8(path, within, info),
    )


def from_bytes(path: str, data: bytes, *, content_id: str = "") -> Attachment:
    """Data that has been read already as an attachment, named by the last part of `path`."""

    def open_data() -> BinaryIO:
        return io.BytesIO(data)

    return compose.attachment(path, open_data, len(data), content_id=content_id, is_utf8=lambda: is_utf8([data]))


def _opened(path: str, within: str) -> int:
    """A handle of a file. Raises OSError where that is not below `within`: a link may have been changed since."""
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    if within:
        link = f"/proc/self/fd/{handle}"  # what was opened, whatever the path names by now
        real = os.path.realpath(link if os.path.exists(link) else path)
        if os.path.commonpath([within, real]) != within:
            os.close(handle)
            raise OSError(0, "it is outside its directory now", path)
    return handle


def _reopened(path: str, within: str, seen: os.stat_result) -> BinaryIO:
    """The file that was checked. Raises OSError where another file, or a pipe, has taken its place since."""
    handle = _opened(path, within)
    info = os.fstat(handle)
    if (info.st_dev, info.st_ino, info.st_size) != (seen.st_dev, seen.st_ino, seen.st_size):
        os.close(handle)
        raise OSError(0, "it is another file now", path)
    return os.fdopen(handle, "rb")


def _is_utf8(path: str, within: str, seen: os.stat_result) -> bool:
    with _reopened(path, within, seen) as file:
        return is_utf8(iter(lambda: file.read(_CHUNK), b""))
