"""What a person meets on the way: the offer to begin, a question instead of a look-up, warnings, waiting, Ctrl-C."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pexpect
import pytest

from tests.cli.test_terminal import to_the_question_about_a_file
from tests.mail_server import MailServer
from tests.person import Person, ended, interrupt
from tests.recording import RecordingServer, password_account, plain_account
from tests.servers import ScriptedServer

if TYPE_CHECKING:
    from smtpsetup.sandbox.server import Sandbox, SandboxFacts
    from tests.conftest import Home

_CURSOR_CODES = ("\x1b[?25", "\x1b[2K", "\x1b[1A", "\x1b[K", "\r\x1b")


def test_without_a_command_and_an_account_a_person_is_offered_to_begin(person: Person) -> None:
    terminal = person.types()
    terminal.expect("Set one up now.*: ")
    terminal.sendline("")
    terminal.expect("Your mail address: ")
    interrupt(terminal)
    ended(terminal, 130)
    terminal = person.types()
    terminal.expect("Set one up now.*: ")
    terminal.sendline("n")
    assert "Commands:" in ended(terminal, 2)


def test_without_a_command_but_with_an_account_or_without_a_terminal_there_is_help(person: Person) -> None:
    run = person.home.run()
    assert (run.code, run.out, "Commands:" in run.err) == (2, "", True)
    password_account(person.home, 1)
    assert "Commands:" in ended(person.types(), 2)


def test_a_domain_without_an_ending_is_asked_about_before_anything_is_looked_up(person: Person) -> None:
    for language, meant in (("en", "kalle@live.com"), ("sv", "kalle@live.se")):
        terminal = person.types("identify", "kalle@live", SMTPSETUP_LANG=language)
        terminal.expect(f"{meant}\\? ")
        terminal.sendline("")
        assert "Outlook.com" in ended(terminal, 0)
    run = person.home.run("identify", "kalle@live", "--json")
    assert (run.code, run.json["error"]["hints"][0]) == (68, "Did you mean kalle@live.com?")


def test_a_provider_or_a_kind_of_login_that_does_not_fit_gets_a_warning(home: Home) -> None:
    run = home.run("configure", "a@gmail.com", "--provider", "one.com", "--no-verify", "--password-env", "X")
    assert (run.code, "Warning: gmail.com belongs to Gmail, not to one.com." in run.err) == (0, True)
    run = home.run("configure", "a@live.se", "--auth", "password", "--no-verify", "--password-env", "X")
    assert (run.code, "Warning: Outlook.com takes no password from mail programs." in run.err) == (0, True)
    run = home.run("configure", "b@gmail.com", "--provider", "gmail", "--no-verify", "--password-env", "X")
    assert (run.code, run.err) == (0, "")


def test_after_ctrl_c_it_is_said_that_the_mail_is_not_kept(person: Person) -> None:
    with ScriptedServer((60.0,)) as server:
        plain_account(person.home, server.port)
        terminal = person.types("send", "kund@example.com", "--body", "x")
        terminal.expect(r"[-|/\\] Sending …")  # after a second
        interrupt(terminal)
        shown = ended(terminal, 130)
    assert "it is not kept in the outbox" in shown
    assert "Interrupted" in shown
    assert person.home.run("outbox", "list", "--json").json["result"] == []


def test_a_quick_mail_shows_nothing_that_turns(person: Person) -> None:
    with RecordingServer() as server:
        plain_account(person.home, server.port)
        shown = ended(person.types("send", "kund@example.com", "--body", "x"), 0)
    assert "Sending" not in shown
    assert "✓ Sent to kund@example.com." in shown


@pytest.mark.matrix
@pytest.mark.parametrize("plain", [{"TERM": "dumb"}, {"NO_COLOR": "1"}])
def test_nothing_is_redrawn_where_a_person_wants_plain_output(person: Person, plain: dict[str, str]) -> None:
    with MailServer(pause=1.5) as server:
        plain_account(person.home, server.port)
        for command in (("test",), ("send", "kund@example.com", "--body", "x"), ("identify", "a@live.se")):
            shown = ended(person.types(*command, **plain), 0)
            assert not [code for code in _CURSOR_CODES if code in shown], (command, shown)


def test_forced_colour_in_a_pipe_moves_no_cursor(home: Home, facts: SandboxFacts, sandbox: Sandbox) -> None:
    assert home.configure(facts).code == 0
    for command in (("test",), ("identify", "namn@live.se"), ("accounts", "show"), ("test", "-v")):
        run = home.run(*command, FORCE_COLOR="1")
        assert "\x1b[" in run.out + run.err
        assert not [code for code in _CURSOR_CODES if code in run.out + run.err], command


def test_a_file_for_the_password_is_made_only_after_a_yes(
    person: Person, sandbox: Sandbox, facts: SandboxFacts
) -> None:
    terminal = to_the_question_about_a_file(person, facts)
    interrupt(terminal)
    ended(terminal, 130)
    assert not (person.home.path / ".config" / "smtpsetup" / "passwords").exists()
    assert not person.home.config.exists()


@pytest.mark.parametrize("columns", [40, 200])
def test_answers_fit_narrow_and_wide_terminals(person: Person, columns: int) -> None:
    person.columns = columns
    terminal = person.types("identify", "namn@live.se", "--more", TERM="dumb")
    terminal.expect(pexpect.EOF)
    lines = str(terminal.before).replace("\r", "").split("\n")
    assert max(len(line.rstrip()) for line in lines if "`" not in line and "http" not in line) <= columns


def test_the_steps_to_a_client_id_are_shown_where_oauth2_is_chosen_and_not_needed(person: Person) -> None:
    terminal = person.types("configure", "namn@gmail.com", "--auth", "oauth2")
    terminal.expect("https://console.cloud.google.com/projectcreate")
    terminal.expect(r"Client id \(Enter to stop\): ")
    terminal.sendline("11111111-2222-3333-4444-555555555555")
    terminal.expect("That is no client id")
    terminal.expect(r"Client id \(Enter to stop\): ")
    terminal.sendline("")
    assert "Nothing was changed" in ended(terminal, 130)


def test_a_provider_without_a_password_offers_its_ways_and_ends_with_the_errors_code(person: Person) -> None:
    for address, number, code, words in (
        ("namn@live.se", "2", 77, "configure info@YOUR-DOMAIN"),
        ("namn@tuta.com", "2", 69, "https://accounts.google.com/signup"),
        ("namn@onet.pl", "1", 77, "Come back when it is"),
    ):
        terminal = person.types("configure", address)
        terminal.expect(r"Which one\? .*: ")
        terminal.sendline("9")
        terminal.expect("Answer with a number from 1 to")
        terminal.expect(r"Which one\? .*: ")
        terminal.sendline(number)
        if number == "1":
            terminal.expect(r"Is that done\? .*: ")
            terminal.sendline("n")
        assert words in ended(terminal, code)
    run = person.home.run("configure", "namn@tuta.com")
    assert (run.code, "config.provider-without-smtp" in run.err) == (69, True)
