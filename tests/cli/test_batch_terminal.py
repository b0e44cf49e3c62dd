"""Many mails at a terminal: a progress bar, a line for each error, and a summary at the end."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING

import pexpect
import pytest

from tests import answers
from tests.mail_server import MailServer, Turn
from tests.person import Person, ended
from tests.recording import password_account
from tests.servers import wait_for

if TYPE_CHECKING:
    from tests.conftest import Home


def written(home: Home, count: int) -> None:
    rows = [{"to": f"m{n}@example.com", "subject": f"m{n}", "body": "hej"} for n in range(count)]
    home.file("mails.jsonl", "".join(json.dumps(row) + "\n" for row in rows))


def slow(turn: Turn) -> bytes | None:
    if turn.verb == ".":
        time.sleep(0.1)  # so that the bar can be seen
    return b"550 5.1.1 unknown\r\n" if turn.line == "RCPT TO:<m3@example.com>" else None


@pytest.mark.slow
def test_a_bar_shows_the_progress_and_a_summary_the_result(person: Person) -> None:
    written(person.home, 12)
    with MailServer(slow) as server:
        password_account(person.home, server.port)
        terminal = person.types("send", "--batch", "mails.jsonl")
        terminal.expect("/12")
        shown = ended(terminal, 67)
    assert "Line 4: " in shown
    assert "550 5.1.1 unknown" in shown
    assert "11 mails sent in" in shown
    assert "1 could not be sent" in shown


@pytest.mark.slow
def test_ctrl_c_reports_the_progress_and_the_next_run_continues(person: Person) -> None:
    written(person.home, 30)
    with MailServer(lambda turn: None if turn.line == "RCPT TO:<m3@example.com>" else slow(turn)) as server:
        password_account(person.home, server.port)
        terminal = person.types("send", "--batch", "mails.jsonl")
        wait_for(lambda: len(server.mails) >= 5)
        time.sleep(0.05)  # the server has the next message now, and has not replied yet
        terminal.sendintr()
        assert "it sends the rest" in ended(terminal, 130)
        assert "were sent by an earlier run" in ended(person.types("send", "--batch", "mails.jsonl"), 0)
    assert sorted(server.subjects) == sorted(f"m{number}" for number in range(30))


@pytest.mark.slow
def test_the_bar_starts_where_the_earlier_run_stopped(person: Person) -> None:
    written(person.home, 6)
    with MailServer(slow) as server:
        password_account(person.home, server.port)
        ended(person.types("send", "--batch", "mails.jsonl"), 67)
        terminal = person.types("send", "--batch", "mails.jsonl")
        terminal.expect("6/6")
        ended(terminal, 67)


def test_redirected_results_are_written_while_the_bar_is_on_the_terminal(person: Person) -> None:
    written(person.home, 2)
    with MailServer() as server:
        password_account(person.home, server.port)
        person.home.file(
            "sh", f"#!/bin/sh\n{sys.executable} -m smtpsetup send --batch mails.jsonl --json > results\n", mode=0o700
        )
        terminal = pexpect.spawn(
            str(person.home.path / "sh"),
            env={**person.home.env, "TERM": "xterm"},
            cwd=str(person.home.path),
            encoding="utf-8",
            timeout=30,
        )
        ended(terminal, 0)
    results = (person.home.path / "results").read_text().splitlines()
    assert [answers.read(line).get("line") for line in results] == [1, 2, None]


def test_with_json_the_document_is_not_mixed_with_the_bar(person: Person) -> None:
    written(person.home, 2)
    with MailServer() as server:
        password_account(person.home, server.port)
        terminal = person.types("send", "--batch", "mails.jsonl", "--json", TERM="dumb")
        shown = ended(terminal, 0)
    lines = [line for line in shown.splitlines() if line.startswith("{")]
    assert [answers.read(line).get("line") for line in lines] == [1, 2, None]
