"""`send`: sources of the text, limits of the provider, and what it shows."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from smtpsetup.state import usage

if TYPE_CHECKING:
    from pathlib import Path

    from smtpsetup.sandbox.server import Sandbox, SandboxFacts
    from tests.conftest import Home


def test_send_takes_its_text_from_argument_file_or_standard_input(
    home: Home, sandbox: Sandbox, facts: SandboxFacts
) -> None:
    home.configure(facts)
    home.file("text.txt", "från fil\n")
    home.file("page.html", "<p>från html</p>")
    assert home.run("send", "a@example.com", "--body", "från argument").code == 0
    assert home.run("send", "a@example.com", "--body-file", "text.txt").code == 0
    assert home.run("send", "a@example.com", stdin="från standard in").code == 0
    assert home.run("send", "a@example.com", "--body-file", "-", stdin="från -").code == 0
    assert home.run("send", "a@example.com", "--html", "page.html").code == 0
    assert home.run("send", "a@example.com").code == 0
    assert [mail.text for mail in sandbox.mails] == [
        "från argument",
        "från fil",
        "från standard in",
        "från -",
        "från html",
        "",
    ]


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--body-file", "missing.txt"), 66),
        (("--body", "x", "--attach", "missing.pdf"), 66),
        (("--body", "x", "--attach", "."), 66),
        (("--html", "missing.html"), 66),
        (("--body-file", "latin1.txt"), 65),
        (("--body", "x", "-s", "a\nBcc: b@x.se"), 65),
        (("--body", "x", "-H", "X: a\r\nBcc: b@x.se"), 65),
        (("--body", "x", "-H", "Bcc: b@x.se"), 65),
        (("--body", "x", "--cc", "a@@x.se"), 65),
        (("--body", "x", "--to", "a@x.se\nRCPT TO:<b@x.se>"), 65),
        (("--body", "x", "-a", "nobody"), 78),
        (("--body", "x", "--inline", "logo"), 2),
        (("--body", "x", "--body-file", "y"), 2),
    ],
)
def test_bad_input_sends_nothing(
    home: Home, sandbox: Sandbox, facts: SandboxFacts, arguments: tuple[str, ...], code: int
) -> None:
    home.configure(facts)
    home.file("latin1.txt", "å".encode("latin-1"))
    done = home.run("send", "a@example.com", *arguments)
    assert done.code == code, done.err
    assert "Traceback" not in done.err
    assert sandbox.mails == []


def test_dry_run_prints_the_message_and_sends_nothing(home: Home, sandbox: Sandbox, facts: SandboxFacts) -> None:
    home.configure(facts)
    (home.path / "password").unlink()
    done = home.run("send", "a@example.com", "--bcc", "hemlig@example.com", "--body", "hej", "--dry-run")
    assert done.code == 0
    assert "hej\n" in done.out
    assert "hemlig" not in done.out
    assert "hemlig@example.com" in done.err
    assert (
        home.run("send", "a@example.com", "--body", "x", "--dry-run", "--json").json["result"]["account"]
        == "info@example.com"
    )
    assert home.run("send", "a@example.com", "--body", "hej", "--dry-run", "--raw").out.endswith("\n\nhej\n")
    assert home.run("send", "a@example.com", "--body", "hej", "--raw").code == 2
    assert sandbox.mails == []


def test_a_mail_with_nothing_in_it_gets_a_warning(home: Home, sandbox: Sandbox, facts: SandboxFacts) -> None:
    home.configure(facts)
    assert "no subject and no text" in home.run("send", "a@example.com", stdin="\n").err
    for arguments in (("-s", "x"), ("--body", "x"), ("--attach", str(home.file("a.txt", "x")))):
        assert home.run("send", "a@example.com", *arguments, stdin="").err == ""
    assert len(sandbox.mails) == 4


def test_text_in_a_pipe_beside_html_is_never_lost_in_silence(home: Home, sandbox: Sandbox, facts: SandboxFacts) -> None:
    home.configure(facts)
    html = str(home.file("a.html", "<p>Hej Åsa</p>"))
    send = ("send", "a@example.com", "-s", "x", "--html", html)
    unread = home.run(*send, stdin="Hej från röret")
    assert (unread.code, "`--body-file -`" in unread.err) == (0, True)
    assert home.run(*send, stdin="").err == ""
    assert home.run(*send, "--body", "x", stdin="a list").err == ""
    assert home.run(*send, "--body-file", "-", stdin="Hej från röret").err == ""
    assert [mail.text for mail in sandbox.mails] == ["Hej Åsa", "Hej Åsa", "x", "Hej från röret"]


@pytest.mark.slow
def test_a_message_beyond_a_limit_of_the_provider_causes_a_warning(
    home: Home, sandbox: Sandbox, facts: SandboxFacts
) -> None:
    home.configure(facts)
    home.config.write_text(home.config.read_text() + 'provider = "gmail"\n')
    few = [f"a{number}@example.com" for number in range(20)]
    many = [f"a{number}@example.com" for number in range(101)]
    assert "Warning" not in home.run("send", *few, "--body", "x").err
    done = home.run("send", *many, "--body", "x")
    assert done.code == 0
    assert "101 recipients, but Gmail allows 100" in done.err
    home.file("big.bin", bytes(20_000_000))
    assert "but Gmail allows 25" in home.run("send", "a@example.com", "--body", "x", "--attach", "big.bin").err


def test_a_message_beyond_the_daily_limit_causes_a_warning(home: Home, sandbox: Sandbox, facts: SandboxFacts) -> None:
    home.configure(facts)
    home.config.write_text(home.config.read_text() + 'provider = "gmail"\n')
    directory = home.path / ".local" / "state" / "smtpsetup"
    for _ in range(499):
        usage.record(str(directory), "info@example.com", 1)
    assert "Warning" not in home.run("send", "a@example.com", "--body", "x").err
    assert usage.last_day(str(directory), "info@example.com") == (500, 500)
    done = home.run("send", "a@example.com", "--body", "x")
    assert done.code == 0
    assert "message 501 in 24 hours, but Gmail allows 500" in done.err
    assert "501 recipients in 24 hours" in done.err
    assert (directory / "sent-info@example.com").stat().st_mode & 0o077 == 0


def test_usage_is_forgotten_after_a_day_and_its_file_may_be_unwritable(tmp_path: Path) -> None:
    long_ago = "1000000000 1\n" * 6000
    ahead = f"{int(time.time()) + 86_400} 1\n"  # noted with a wrong clock
    (tmp_path / "sent-a%2fb").write_text(long_ago + ahead + "nonsense\n")
    assert usage.last_day(str(tmp_path), "a/b") == (0, 0)
    usage.record(str(tmp_path), "a/b", 3)
    assert usage.last_day(str(tmp_path), "a/b") == (1, 3)
    assert len((tmp_path / "sent-a%2fb").read_text().splitlines()) == 1
    usage.record("/dev/null/nowhere", "a", 1)
    assert usage.last_day("/dev/null/nowhere", "a") == (0, 0)


def test_queue_always_keeps_the_mail_and_does_not_send_it(home: Home, sandbox: Sandbox, facts: SandboxFacts) -> None:
    home.configure(facts)
    done = home.run("send", "a@example.com", "--body", "x", "--queue", "always", "--json")
    assert done.code == 0
    assert done.json["result"]["queued"] is True
    assert sandbox.mails == []


def test_verbose_shows_the_smtp_dialogue_without_the_password(home: Home, facts: SandboxFacts) -> None:
    home.configure(facts)
    done = home.run("send", "a@example.com", "--body", "x", "-v")
    assert "> AUTH PLAIN ***" in done.err
    assert "< 235" in done.err
