"""A message from a pipe, with CRLF line ends: in memory while it is small, else in a temporary file."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_CHUNK = 65_536  # bytes
_IN_MEMORY = 2_000_000  # bytes; what is larger goes into an unnamed file
_MEMORY = "memory"
_END = b"\r\n.\r\n"


class Spool:
    """Bytes that can be read several times."""

    def __init__(
        self, chunks: Iterable[bytes] = (), *, directory: str | None = None, in_memory: int = _IN_MEMORY
    ) -> None:
        """Keep the chunks, in memory or on a disk that has room for them. Raises OSError where none has.

        What is more than `in_memory` bytes goes into an unnamed file: in `directory`, else wherever there is room.
        """
        self.size = 0
        self.is_ascii = True
        self._file: BinaryIO = io.BytesIO()
        self._in_memory = in_memory
        self._directory = directory
        self._places = iter((directory,)) if directory else _places()
        for chunk in chunks:
            self.append(chunk)

    def like_this(self, chunks: Iterable[bytes]) -> Spool:
        """Other bytes, kept where these are. Raises OSError."""
        return Spool(chunks, directory=self._directory, in_memory=self._in_memory)

    def append(self, chunk: bytes) -> None:
        """Add bytes at the end. Raises OSError where there is no room for them."""
        if self.size <= self._in_memory < self.size + len(chunk):
            self._move()
        self._append(chunk)
        self.size += len(chunk)
        self.is_ascii = self.is_ascii and chunk.isascii()

    def close(self) -> None:
        """Free the memory or the file."""
        self._file.close()

    def __del__(self) -> None:
        self.close()  # no reader of a message can know that it is the last one

    def _append(self, chunk: bytes) -> None:
        """Write a chunk; where the disk is full, move to another one first."""
        while True:
            try:
                self._file.seek(self.size)
                _write_all(self._file, chunk)
            except OSError:
                self._move()
            else:
                return

    def _move(self) -> None:
        """Move what is kept to the next place that can be used; the last one is memory. Raises OSError."""
        for place in self._places:
            try:
                file: BinaryIO = io.BytesIO() if place == _MEMORY else _new_file(place)
            except OSError:
                continue
            try:
                for chunk in self.chunks(self.size):
                    _write_all(file, chunk)
            except OSError:
                file.close()
            except BaseException:
                file.close()
                raise
            else:
                self._file.close()
                self._file = file
                return
        raise OSError(28, "No space left on device")

    def chunks(self, size: int | None = None) -> Iterator[bytes]:
        """The bytes from the start, at most `size` of them."""
        position = 0
        while size is None or position < size:
            self._file.seek(position)
            chunk = self._file.read(_CHUNK if size is None else min(_CHUNK, size - position))
            if not chunk:
                return
            position += len(chunk)
            yield chunk

    def lines(self) -> Iterator[bytes]:
        """The lines, each with its CRLF; one that is longer than a chunk comes in pieces, the last with the CRLF."""
        return lines_of(self.chunks())


def _places() -> Iterator[str]:
    """Where to keep what is large: `""` for TMPDIR, then /var/tmp, which is often larger, then memory."""
    yield from ("", "/var/tmp", _MEMORY)  # noqa: S108  an unnamed file


def _write_all(file: BinaryIO, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


def lines_of(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The lines of CRLF text, each with its CRLF; one longer than a chunk comes in pieces, the last with the CRLF."""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\r\n")
        yield from (line + b"\r\n" for line in whole)
        if len(rest) >= _CHUNK:
            keep = rest.endswith(b"\r")  # its LF may be on its way
            yield rest[: len(rest) - keep]
            rest = rest[len(rest) - keep :]
    if rest:
        yield rest


def pieces(stream: BinaryIO) -> Iterator[bytes]:
    """The bytes of a stream, as they arrive."""
    return iter(lambda: stream.read1(_CHUNK) if isinstance(stream, io.BufferedReader) else stream.read(_CHUNK), b"")


def with_crlf(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The chunks with every LF, CR and CRLF as CRLF: a bare LF or CR can smuggle a second message past a server."""
    ends_in_cr = False
    for given in chunks:
        if not given:
            continue
        chunk = given[1:] if ends_in_cr and given.startswith(b"\n") else given
        ends_in_cr = given.endswith(b"\r")
        if chunk:
            yield chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")


def up_to_dot(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The chunks, with CRLF line ends, up to a line that is a single dot."""
    held = b"\r\n"  # stands for a line end before the first line, which may be the dot, and is not given out
    unsaid = len(held)
    for chunk in chunks:
        text = held + chunk
        end = text.find(_END)
        if end >= 0:
            yield from _some(text[unsaid : end + 2])
            return
        keep = len(_END) - 1
        said, held = text[:-keep], text[-keep:]
        yield from _some(said[unsaid:])
        unsaid = max(0, unsaid - len(said))
    yield from _some(held[unsaid:-1] if held.endswith(b"\r\n.") else held[unsaid:])


def _some(data: bytes) -> Iterator[bytes]:
    if data:
        yield data


def _new_file(directory: str) -> BinaryIO:
    """An unnamed file, which is deleted when it is closed. Raises OSError."""
    import tempfile  # only large mail needs it

    # on Windows the type is a wrapper
    return tempfile.TemporaryFile(dir=directory or None, buffering=0)  # type: ignore[return-value, unused-ignore]
