"""On a narrow terminal no word is cut and a command stays whole; after Ctrl-C a new line begins."""

from __future__ import annotations

import re
import time

import pytest

from tests.cli.test_batch_terminal import slow, written
from tests.faults.scripts import password_account
from tests.mail_server import MailServer
from tests.person import Person, ended, interrupt
from tests.recording import new_mail, state_dir
from tests.servers import wait_for

NO_KEYRING = {"DBUS_SESSION_BUS_ADDRESS": "unix:path=/nonexistent"}


def lines_of(shown: str) -> list[str]:
    """What a terminal shows, without colours."""
    return [line.rstrip() for line in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown).replace("\r", "").split("\n")]


@pytest.mark.parametrize("columns", [60, 80])
def test_steps_are_wrapped_under_their_text_and_commands_are_whole(person: Person, columns: int) -> None:
    person.columns = columns
    terminal = person.types("configure", "a@mittforetag.example", "--offline", **NO_KEYRING)
    terminal.expect("Keep it there.*: ")
    terminal.sendline("n")
    lines = lines_of(ended(terminal, 78))
    assert max(map(len, lines)) <= columns
    first = next(number for number, line in enumerate(lines) if line.startswith("  1. "))
    assert lines[first + 1].startswith("     ")
    assert any("`--password-file FILE`" in line for line in lines)


def test_questions_and_notices_are_wrapped_and_the_answer_stands_behind_the_question(person: Person) -> None:
    person.columns = 40
    terminal = person.types("configure", "info@mittforetag.example", "--offline", "--auth", "none")
    terminal.expect(r"Mail provider, such as one.com \(Enter\r\nto type in the server\): ")
    assert max(map(len, lines_of(str(terminal.before)))) <= 40
    terminal.sendline("")
    terminal.expect(r"\(host\): ")
    terminal.sendline("localhost")
    terminal.expect("Security.*: ")
    terminal.sendline("pop3")
    terminal.expect("Error: 'pop3' is not one of")
    interrupt(terminal)
    ended(terminal, 130)


def test_wrong_use_is_told_within_the_terminals_width(person: Person) -> None:
    person.columns = 50
    lines = lines_of(ended(person.types("send", "--rate", "5"), 2))
    assert max(map(len, lines)) <= 50
    assert "Error: Invalid value for '--rate': Write a rate as" in lines


def test_what_is_said_after_ctrl_c_at_a_question_begins_on_a_line_of_its_own(person: Person) -> None:
    password_account(person.home, 1)
    from smtpsetup.outbox.store import Outbox

    with Outbox(state_dir(person.home)) as box:
        box.add(new_mail(1))
    terminal = person.types("outbox", "drop", "--all")
    terminal.expect("unsent.*: ")
    interrupt(terminal)
    assert "Interrupted. Nothing more was changed." in lines_of(ended(terminal, 130))


def test_the_bar_is_gone_before_anything_else_is_said(person: Person) -> None:
    written(person.home, 30)
    with MailServer(slow) as server:
        password_account(person.home, server.port)
        terminal = person.types("send", "--batch", "mails.jsonl")
        wait_for(lambda: len(server.mails) >= 6)
        time.sleep(0.05)  # the bar is drawn again a moment after a mail is told
        terminal.sendintr()
        shown = ended(terminal, 130)
    refused = shown[: shown.index("Line 4: ")]
    assert re.search(r"(\r\x1b\[2K|\n)$", refused), repr(refused[-40:])
    said = shown[: re.search(r"\d+ of 30 are sent", shown).start()]  # type: ignore[union-attr]  # it is there
    assert re.search(r"\x1b\[2K(\x1b\[[0-9;?]*[A-Za-z])*$", said), repr(said[-40:])
