"""On a narrow terminal neither words nor commands are broken; after Ctrl-C a new line begins."""

from __future__ import annotations

import re
import time

import pytest

from smtpsetup.outbox.sqlite.store import SqliteOutbox
from tests.cli.test_batch_terminal import slow, written
from tests.mail_server import MailServer
from tests.person import Person, ended, interrupt
from tests.recording import new_mail, password_account, state_dir
from tests.servers import wait_for


def lines_of(shown: str) -> list[str]:
    """The lines on a terminal, without escape sequences."""
    return [line.rstrip() for line in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown).replace("\r", "").split("\n")]


@pytest.mark.parametrize("columns", [60, 80])
def test_steps_are_wrapped_under_their_text_and_commands_are_not_broken(person: Person, columns: int) -> None:
    person.columns = columns
    lines = lines_of(ended(person.types("identify", "a@mittforetag.example", "--offline", "-v"), 68))
    assert max(len(line) for line in lines if "`" not in line) <= columns
    first = next(number for number, line in enumerate(lines) if line.startswith("  1. "))
    assert lines[first + 1].startswith("     ")
    assert any("`smtpsetup configure a@mittforetag.example --provider NAME`" in line for line in lines)


def test_questions_and_notices_are_wrapped_with_the_answer_after_the_question(person: Person) -> None:
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


def test_a_usage_error_is_wrapped_to_the_width_of_the_terminal(person: Person) -> None:
    person.columns = 50
    lines = lines_of(ended(person.types("send", "--rate", "5"), 2))
    assert max(map(len, lines)) <= 50
    assert "Error: Invalid value for '--rate': Write a rate as" in lines


def test_what_is_said_after_ctrl_c_at_a_question_begins_on_a_line_of_its_own(person: Person) -> None:
    password_account(person.home, 1)

    with SqliteOutbox(state_dir(person.home)) as box:
        box.add(new_mail(1))
    terminal = person.types("outbox", "drop", "--all")
    terminal.expect("unsent.*: ")
    interrupt(terminal)
    assert "Interrupted. Nothing more was changed." in lines_of(ended(terminal, 130))


@pytest.mark.parametrize(("language", "label"), [("en", "Subject"), ("sv", "Ämne")])
def test_a_dry_run_shows_a_readable_mail(person: Person, language: str, label: str) -> None:
    password_account(person.home, 1)
    contents = {
        "räkning.pdf": b"%PDF" + bytes(123_000),
        "a.html": b"<p>Hej</p><img src='cid:logo'>",
        "logo.png": b"png",
    }
    for name, content in contents.items():
        person.home.file(name, content)
    text = ("-s", "Räkning 1", "--body", "Hej\x1b[2J", "--html", "a.html")
    files = ("--attach", "räkning.pdf", "--inline", "logo=logo.png")
    typed = person.types("send", "åsa@example.com", *text, *files, "--dry-run", SMTPSETUP_LANG=language)
    printed = ended(typed, 0)
    assert "\x1b[2J" not in printed
    shown = "\n".join(lines_of(printed))
    assert re.search(rf"{label} +Räkning 1\n", shown)
    assert re.search(r"räkning\.pdf +\(application/pdf, 123 kB\)", " ".join(shown.split()))
    assert "logo.png (image/png, 3 " in " ".join(shown.split())
    assert "Hej" in shown.rstrip().splitlines()[-1]
    assert "base64" not in shown


@pytest.mark.parametrize(("language", "no", "said"), [("en", "n", "Nothing was"), ("sv", "nej", "Inget har ändrats.")])
def test_a_no_is_no_interruption(person: Person, language: str, no: str, said: str) -> None:
    password_account(person.home, 1)
    terminal = person.types("accounts", "remove", "a", SMTPSETUP_LANG=language)
    terminal.expect(r"\[.*\]: ")
    terminal.sendline(no)
    shown = ended(terminal, 130)
    assert said in shown
    assert "Interrupted" not in shown
    assert "Avbrutet" not in shown
    assert person.home.run("accounts", "list", "--json").json["result"][0]["account"] == "a"


@pytest.mark.slow
def test_the_bar_is_cleared_before_other_output(person: Person) -> None:
    written(person.home, 30)
    with MailServer(slow) as server:
        password_account(person.home, server.port)
        terminal = person.types("send", "--batch", "mails.jsonl")
        wait_for(lambda: len(server.mails) >= 6)
        time.sleep(0.05)  # the bar is drawn again shortly after an error line
        terminal.sendintr()
        shown = ended(terminal, 130)
    refused = shown[: shown.index("Line 4: ")]
    assert re.search(r"(\r\x1b\[2K|\n)$", refused), repr(refused[-40:])
    before_summary = shown[: re.search(r"\d+ of 30 are sent", shown).start()]  # type: ignore[union-attr]  # it is there
    assert re.search(r"\x1b\[2K(\x1b\[[0-9;?]*[A-Za-z])*$", before_summary), repr(before_summary[-40:])
