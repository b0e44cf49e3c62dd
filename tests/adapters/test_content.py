"""A message arrives as it was or not at all, whatever its content, its pieces, and the files behind it."""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.message.attachments import from_file
from smtpsetup.message.compose import Draft, parse_mailboxes
from smtpsetup.message.delivery import Delivery
from smtpsetup.message.message import Envelope, Message
from smtpsetup.sending.drafts import delivery_of
from tests.adapters.test_submit import opened
from tests.mail_server import MailServer
from tests.servers import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from smtpsetup.smtp.session import Session

HEADER = b"Subject: x\r\n\r\n"
ENVELOPE = Envelope("info@example.com", ("a@example.com",))
LARGE = 400_000  # bytes: several pieces


@pytest.fixture(scope="module")
def line() -> Iterator[tuple[MailServer, Session]]:
    """One connection for many messages."""
    with MailServer() as server, opened(server.port) as session:
        yield server, session


def arrived(line: tuple[MailServer, Session], chunks: list[bytes]) -> bytes:
    server, session = line
    session.deliver(Delivery(ENVELOPE, Message(HEADER, lambda: iter(chunks), sum(map(len, chunks)))))
    return server.mails[-1].content.removeprefix(HEADER)


LINES = st.lists(
    st.sampled_from([b"", b".", b"..", b".x", b"x.", b"x", b"-.", b". ", b"QUIT", b"\xc3\xa5."]), max_size=8
)


@settings(
    max_examples=3 * settings().max_examples, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(lines=LINES, cuts=st.lists(st.integers(0, 30), max_size=8))
def test_any_text_in_any_chunks_arrives_unchanged(
    line: tuple[MailServer, Session], lines: list[bytes], cuts: list[int]
) -> None:
    body = b"".join(one + b"\r\n" for one in lines)
    ends = [0, *sorted(cuts), len(body)]
    chunks = [body[start:end] for start, end in itertools.pairwise(ends)]
    assert arrived(line, chunks) == body


@pytest.mark.parametrize("filler", [70, 65_400, 65_500, 65_536, 131_072])
@pytest.mark.parametrize("cut", [0, 1, 2, 3, 4, 5])
def test_a_chunk_that_ends_at_a_dot_or_inside_a_line_break_arrives_unchanged(
    line: tuple[MailServer, Session], filler: int, cut: int
) -> None:
    ending = b"\r\n.\r\n..\r\n"
    first = (b"y" * 70 + b"\r\n") * (filler // 72) + b"y" * (filler % 72)
    assert arrived(line, [first + ending[:cut], ending[cut:]]) == first + ending


def test_an_empty_last_chunk_adds_no_line(line: tuple[MailServer, Session]) -> None:
    large = (b"y" * 70 + b"\r\n") * 2000
    assert arrived(line, [large, b""]) == large


def test_a_text_without_a_last_line_break_gets_one(line: tuple[MailServer, Session]) -> None:
    assert arrived(line, [b"x\r\n.y"]) == b"x\r\n.y\r\n"
    assert arrived(line, [b"x\r\n."]) == b"x\r\n.\r\n"


def test_arbitrary_bytes_arrive_unchanged(line: tuple[MailServer, Session]) -> None:
    content = os.urandom(100_000).replace(b"\r", b"").replace(b"\n", b"") + b"\r\n"
    assert arrived(line, [content]) == content


# files that change


def _cut(path: Path) -> None:
    os.truncate(path, LARGE // 2)


def _empty(path: Path) -> None:
    os.truncate(path, 0)


def _one_byte_less(path: Path) -> None:
    os.truncate(path, LARGE - 1)


def _grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"x")


def _vanish(path: Path) -> None:
    path.unlink()


def _hide(path: Path) -> None:
    path.unlink()
    path.mkdir()


def with_attachment(path: Path) -> Delivery:
    sender, recipient = parse_mailboxes("info@example.com, a@example.com")
    return delivery_of(Draft(sender, to=(recipient,), text="x", attachments=(from_file(str(path)),)))


CHANGES = (_cut, _empty, _one_byte_less, _grow, _vanish, _hide)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__.strip("_"))
def test_a_file_that_changed_after_its_size_was_read_is_not_sent_truncated(
    tmp_path: Path, change: Callable[[Path], None]
) -> None:
    path = tmp_path / "bilaga.bin"
    path.write_bytes(os.urandom(LARGE))
    delivery = with_attachment(path)
    change(path)
    with MailServer(offers=("SIZE 10000000",)) as server:
        with pytest.raises(SmtpsetupError) as caught, opened(server.port) as session:
            session.deliver(delivery)
        wait_for(lambda: server.torn)
    assert caught.value.exit_code in (66, 74)
    assert "bilaga.bin" in caught.value.message
    assert server.mails == []


def test_a_file_that_shrinks_during_transmission_is_not_sent_truncated(tmp_path: Path) -> None:
    path = tmp_path / "stor.bin"
    path.write_bytes(os.urandom(LARGE * 10))
    composed = with_attachment(path)

    def body() -> Iterator[bytes]:
        for number, chunk in enumerate(composed.message.body()):
            if number == 5:
                _cut(path)
            yield chunk

    message = Message(composed.message.header, body, composed.message.body_size)
    with MailServer(offers=("PIPELINING",)) as server:
        with pytest.raises(SmtpsetupError), opened(server.port) as session:
            session.deliver(composed._replace(message=message))
        wait_for(lambda: server.torn)
    assert server.mails == []
    assert server.torn[0].startswith(b"From:")
