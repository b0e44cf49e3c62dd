"""Mail of an account that is gone or cannot log in is counted, told before and after, and shown at a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.person import ended
from tests.recording import RecordingServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Home
    from tests.person import Person

TWO = """default = "a@example.com"

[accounts."a@example.com"]
address = "a@example.com"
host = "127.0.0.1"
port = {port}
security = "none"
auth = "none"

[accounts."b@example.com"]
address = "b@example.com"
host = "127.0.0.1"
port = {port}
security = "none"
auth = "none"
"""


@pytest.fixture
def two(home: Home) -> Iterator[Home]:
    """A home with two accounts, and a mail of each in the outbox."""
    with RecordingServer() as server:
        home.file(".config/smtpsetup/config.toml", TWO.format(port=server.port))
        for account in ("a@example.com", "b@example.com"):
            queued = home.run(
                "send", "kund@example.org", "-a", account, "-s", account, "--body", "x", "--queue", "always"
            )
            assert queued.code == 0, queued.err
        yield home


def test_what_the_removal_of_an_account_means_is_told(two: Home) -> None:
    removed = two.run("accounts", "remove", "a@example.com")
    assert removed.code == 0
    assert "1 mail waits for it" in removed.err
    assert "It is the default account" in removed.err
    assert two.run("accounts", "remove", "nobody@example.com").code == 78


def test_mail_of_an_account_that_is_gone_is_counted_and_doctor_warns(two: Home) -> None:
    two.run("accounts", "remove", "b@example.com")
    flushed = two.run("outbox", "flush", "--json")
    assert flushed.code == 78
    assert [flushed.json["result"][key] for key in ("sent", "waiting")] == [1, 1]
    status = two.run("outbox", "status", "--json").json["result"]
    assert (status["waiting"], status["per_minute"], status["seconds_left"]) == (1, 1, None)
    findings = two.run("doctor", "--json").json["result"]["checks"]
    (outbox,) = [one for one in findings if one["check"] == "outbox"]
    assert outbox["status"] == "warning"
    assert "config.no-account" in outbox["message"]


def test_at_a_terminal_the_totals_stand_before_the_error(two: Home, person: Person) -> None:
    two.run("accounts", "remove", "b@example.com")
    shown = ended(person.types("outbox", "flush"), 78)
    assert shown.index("Sent: 1. Still waiting: 1.") < shown.index("Error: ")


def test_doctor_counts_the_accounts_that_it_did_not_look_at(two: Home) -> None:
    assert "1 other account was not checked" in two.run("doctor", "a@example.com").out
    assert "2 accounts were not checked" in two.run("doctor", "nobody@example.com").out


def test_configure_of_an_account_that_is_not_the_default_names_it_in_each_next_step(two: Home, person: Person) -> None:
    with RecordingServer() as server:
        settings = ("--host", "127.0.0.1", "--port", str(server.port), "--security", "none", "--auth", "none")
        terminal = person.types("configure", "c@example.com", *settings, "--from-name", "C", "--no-verify")
        shown = ended(terminal, 0)
    assert "smtpsetup card c@example.com" in shown
    assert "--account c@example.com" in shown


def test_configure_says_that_nothing_is_changed_where_nothing_is_typed(two: Home, person: Person) -> None:
    terminal = person.types("configure", "a@example.com")
    terminal.expect("Change it")
    terminal.sendline("")
    terminal.expect("No option names a change")


def test_a_dry_run_of_a_merge_at_a_terminal_shows_mails_as_they_are_read(two: Home, person: Person) -> None:
    two.file("kunder.csv", "email;namn\nkund@example.org;Åke Öberg\n")
    options = ("send", "--merge", "kunder.csv", "-s", "Räkning", "--body", "Hej $namn!", "--dry-run")
    assert "Hej Åke Öberg!" in ended(person.types(*options), 0)
    assert "=C3=85ke" in ended(person.types(*options, "--raw"), 0)
    assert "=C3=85ke" in two.run(*options).out
