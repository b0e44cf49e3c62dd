"""Questions at a real terminal, invalid answers, and Ctrl-C at every question."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.credentials import stores
from tests.conftest import PASSWORD, account_at, server_options
from tests.person import NO_KEYRING, Person, ended, interrupt, saved
from tests.servers import ScriptedServer

if TYPE_CHECKING:
    import pexpect

    from smtpsetup.sandbox.server import Sandbox, SandboxFacts


def answered_up_to_the_password(person: Person, facts: SandboxFacts) -> pexpect.spawn[str]:
    """Run `configure` and answer every question before the password."""
    terminal = person.types("configure", "--ca-file", facts.ca_file)
    terminal.expect("Your mail address: ")
    terminal.sendline("info@mittforetag.example")
    terminal.expect("could not be found out")
    terminal.expect("Mail provider.*: ")
    terminal.sendline("")
    terminal.expect(r"Outgoing mail server \(host\): ")
    terminal.sendline("localhost")
    terminal.expect(r"Security \(tls, starttls\) \[tls\]: ")
    terminal.sendline("")
    terminal.expect(r"Port \[465\]: ")
    terminal.sendline(str(facts.tls_port))
    terminal.expect("Sender name .*: ")
    terminal.sendline("Mitt Företag AB")
    terminal.expect(r"Password for info@mittforetag.example \(not shown while you type\): ")
    terminal.waitnoecho()
    return terminal


def test_configure_test_and_send_work_at_a_terminal_with_the_keyring(
    person: Person, sandbox: Sandbox, facts: SandboxFacts
) -> None:
    terminal = answered_up_to_the_password(person, facts)
    terminal.sendline(PASSWORD)
    shown = saved(terminal)
    assert PASSWORD not in shown
    assert "Saved in" in shown
    assert "✓ Logged in at" in shown
    assert PASSWORD not in person.home.config.read_text()
    shown = ended(person.types("test"), 0)
    assert "✓ Sent to info@mittforetag.example" in shown
    terminal = person.types("send", "asa@example.com", "-s", "Hej")
    terminal.expect("Ctrl-D")
    terminal.sendline("Hej Åsa!")
    terminal.sendeof()
    ended(terminal, 0)
    assert [mail.text for mail in sandbox.mails][1] == "Hej Åsa!"
    terminal = person.types("accounts", "remove", "info@mittforetag.example")
    terminal.expect("Remove the account")
    terminal.sendline("y")
    ended(terminal, 0)
    assert person.home.run("accounts", "list", "--json").json["result"] == []
    asked = subprocess.run(
        [sys.executable, "-m", "keyring", "get", "smtpsetup", "info@mittforetag.example"],
        env={**person.home.env, **person.keyring.env},
        capture_output=True,
        text=True,
        check=False,
    )
    assert asked.stdout == ""


@pytest.mark.slow
def test_an_invalid_answer_is_explained_and_the_question_asked_again(person: Person, facts: SandboxFacts) -> None:
    terminal = person.types("configure", "--ca-file", facts.ca_file)
    terminal.expect("Your mail address: ")
    terminal.sendline("info@@mittforetag.example")
    terminal.expect("more than one @")
    terminal.expect("Your mail address: ")
    terminal.sendline("info@mittforetag.example")
    terminal.expect("Mail provider.*: ")
    terminal.sendline("onecom")
    terminal.expect("Did you mean one-com")
    terminal.expect("Mail provider.*: ")
    terminal.sendline("")
    terminal.expect(r"\(host\): ")
    terminal.sendline("https://localhost/")
    terminal.expect("web address")
    terminal.expect(r"\(host\): ")
    terminal.sendline("localhost")
    terminal.expect(r"\[tls\]: ")
    terminal.sendline("pop3")
    terminal.expect("'pop3' is not one of")
    terminal.expect(r"\[tls\]: ")
    terminal.sendline("SSL")
    terminal.expect(r"Port \[465\]: ")
    terminal.sendline("70000")
    terminal.expect("70000 is not in the range")
    terminal.expect(r"Port \[465\]: ")
    terminal.sendline(str(facts.tls_port))
    terminal.expect("Sender name .*: ")
    terminal.sendline("")
    terminal.expect("Password .*: ")
    terminal.waitnoecho()
    terminal.sendline("")
    terminal.expect("The password is empty")
    terminal.expect("Password .*: ")
    terminal.waitnoecho()
    terminal.sendline("wrong")
    terminal.expect(r"with this\s+password\.\s+\(auth.bad-credentials\)")
    terminal.expect("Password .*: ")
    terminal.waitnoecho()  # whatever is typed now is no answer to another question
    terminal.sendline("y")
    terminal.expect("one of the next two")
    terminal.expect("Password .*: ")
    terminal.waitnoecho()
    terminal.sendline(PASSWORD)
    assert "Saved in" in saved(terminal)


@pytest.mark.matrix
@pytest.mark.parametrize(
    "stop", ["Your mail address", "Mail provider", r"\(host\)", r"\[tls\]", r"Port \[465\]", "Sender name", "Password "]
)
def test_ctrl_c_at_any_question_ends_with_130_and_leaves_nothing(
    person: Person, facts: SandboxFacts, stop: str
) -> None:
    answers = [
        ("Your mail address", "info@mittforetag.example"),
        ("Mail provider", ""),
        (r"\(host\)", "localhost"),
        (r"\[tls\]", ""),
        (r"Port \[465\]", str(facts.tls_port)),
        ("Sender name", "X"),
        ("Password ", PASSWORD),
    ]
    terminal = person.types("configure", "--ca-file", facts.ca_file)
    for question, answer in answers:
        terminal.expect(question + ".*: ")
        if question == stop:
            interrupt(terminal)
            break
        terminal.sendline(answer)
    assert "Interrupted" in ended(terminal, 130)
    assert not person.home.config.exists()


def test_ctrl_c_while_the_server_is_silent_ends_with_130(person: Person) -> None:
    with ScriptedServer((60.0,)) as server:
        password = person.home.file("password", "x")
        options = f"--host localhost --port {server.port} --security starttls --password-file {password}".split()
        terminal = person.types("configure", "a@example.com", *options, "--from-name", "x")
        terminal.expect("Greeting")
        interrupt(terminal)
        assert "Interrupted" in ended(terminal, 130)
    assert not person.home.config.exists()


def test_end_of_input_at_a_question_is_an_interruption(person: Person) -> None:
    terminal = person.types("configure")
    terminal.expect("Your mail address: ")
    terminal.sendeof()
    ended(terminal, 130)


def test_a_misspelt_domain_is_asked_about(person: Person) -> None:
    terminal = person.types("identify", "namn@gmial.com")
    terminal.expect("Did you mean namn@gmail.com")
    terminal.sendline("y")
    assert "smtp.gmail.com:465" in ended(terminal, 0)
    terminal = person.types("identify", "namn@gmial.com")
    terminal.expect("Did you mean namn@gmail.com")
    terminal.sendline("n")
    assert "config.no-settings-found" in ended(terminal, 68)


def test_questions_are_asked_in_swedish_too(person: Person) -> None:
    terminal = person.types("configure", SMTPSETUP_LANG="sv")
    terminal.expect("mejladress: ")
    terminal.sendline("namn@@live.se")
    terminal.expect("config.address-malformed")
    terminal.expect("mejladress: ")
    interrupt(terminal)
    shown = ended(terminal, 130)
    assert "Interrupted" not in shown


@pytest.mark.slow
def test_yes_and_no_are_answered_in_the_persons_language(person: Person) -> None:
    for answer, code in (("j", 0), ("JA", 0), ("y", 0), ("", 0), ("nej", 68)):
        terminal = person.types("identify", "namn@gmial.com", SMTPSETUP_LANG="sv")
        terminal.expect(r"namn@gmail.com\? \[J/n\]: ")
        terminal.sendline("kanske")
        terminal.expect("Svara med j")
        terminal.expect(r"\[J/n\]: ")
        terminal.sendline(answer)
        ended(terminal, code)


def test_a_custom_domain_at_a_known_provider_needs_only_the_providers_name(person: Person) -> None:
    terminal = person.types("configure", "info@mittforetag.example", "--from-name", "x")
    terminal.expect("Mail provider.*: ")
    terminal.sendline("One.com")
    terminal.expect("Password for info@mittforetag.example")
    interrupt(terminal)
    ended(terminal, 130)


def test_with_no_input_nothing_is_asked_at_a_terminal(person: Person) -> None:
    assert "--host" in ended(person.types("configure", "info@mittforetag.example", "--no-input", "-v"), 68)
    assert "Give the address" in ended(person.types("configure", "--no-input"), 2)


def to_the_question_about_a_file(person: Person, facts: SandboxFacts) -> pexpect.spawn[str]:
    """`configure` without a keyring, up to the question that follows once the password has worked."""
    options = (*server_options(facts, "127.0.0.1"), "--from-name", "x")
    terminal = person.types("configure", "info@example.com", *options, **NO_KEYRING)
    terminal.expect("while you type")
    terminal.waitnoecho()
    terminal.sendline(facts.password)
    terminal.expect("Logged in at")
    terminal.expect("Save the password in a file that only you")
    return terminal


def test_without_a_keyring_a_file_is_asked_about_once_the_password_has_worked(
    person: Person, sandbox: Sandbox, facts: SandboxFacts
) -> None:
    terminal = to_the_question_about_a_file(person, facts)
    terminal.sendline("n")
    shown = ended(terminal, 78)
    assert not person.home.config.exists()
    assert "secret.keyring-unavailable" in shown
    assert "Nothing was saved." in shown
    assert "`smtpsetup help secrets`" in shown.replace("\x1b[1;36m", "").replace("\x1b[0m", "")


def test_without_a_keyring_the_password_is_kept_in_a_file_that_is_removed_with_the_account(
    person: Person, sandbox: Sandbox, facts: SandboxFacts
) -> None:
    terminal = to_the_question_about_a_file(person, facts)
    terminal.sendline("")
    terminal.expect("when you are not there")
    terminal.sendline("y")
    assert "crontab" in ended(terminal, 0)
    path = person.home.config.parent / "passwords" / "info@example.com"
    assert (path.read_text(), path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (
        f"{facts.password}\n",
        0o600,
        0o700,
    )
    assert person.home.run("send", "asa@example.com", "-s", "x", "--body", "x").code == 0
    assert [mail.recipients for mail in sandbox.mails] == [("asa@example.com",)]
    assert person.home.run("accounts", "remove", "info@example.com").code == 0
    assert not path.exists()


def test_an_unusable_keyring_is_reported_before_a_new_password_for_another_server(
    person: Person, facts: SandboxFacts
) -> None:
    assert person.home.configure(facts).code == 0
    terminal = person.types("configure", "info@example.com", "--host", "127.0.0.1", **NO_KEYRING)
    terminal.expect("Change it")
    terminal.sendline("y")
    assert "secret.keyring-unavailable" in ended(terminal, 78)


def test_required_settings_at_the_provider_are_shown_before_the_password_is_asked_for(person: Person) -> None:
    terminal = person.types("configure", "namn@gmail.com", "--from-name", "x")
    terminal.expect("Create an app password")
    terminal.expect("App password for namn@gmail.com")
    interrupt(terminal)
    ended(terminal, 130)


def test_a_username_that_cannot_be_derived_is_asked_for_by_the_providers_term(person: Person) -> None:
    terminal = person.types("configure", "namn@bahnhof.se")
    terminal.expect("Customer id.*: ")
    interrupt(terminal)
    ended(terminal, 130)


def test_an_existing_account_is_changed_only_after_confirmation(person: Person, facts: SandboxFacts) -> None:
    assert person.home.configure(facts).code == 0
    before = person.home.config.read_bytes()
    terminal = person.types("configure", "info@example.com", "--from-name", "Ny")
    terminal.expect("exists already. Change it")
    terminal.sendline("n")
    ended(terminal, 130)
    assert person.home.config.read_bytes() == before
    terminal = person.types("configure", "info@example.com", "--from-name", "Ny")
    terminal.expect("exists already. Change it")
    terminal.sendline("y")
    ended(terminal, 0)
    assert 'from_name = "Ny"' in person.home.config.read_text()


@pytest.mark.slow
def test_login_and_logout_change_the_keyring(person: Person, facts: SandboxFacts) -> None:
    env = person.keyring.env
    arguments = (*server_options(facts), "--password-stdin")
    assert person.home.run("configure", "a@example.com", *arguments, stdin=PASSWORD + "\n", **env).code == 0
    assert person.home.run("test", "--login-only", **env).code == 0
    assert person.home.run("logout", "--json", **env).json["result"]["secret_removed"] is True
    assert person.home.run("test", "--json", **env).json["error"]["code"] == "secret.missing"
    terminal = person.types("login")
    terminal.expect("Password for a@example.com.*: ")
    terminal.waitnoecho()
    terminal.sendline(PASSWORD)
    assert "It is kept in: keyring" in ended(terminal, 0)
    assert person.home.run("test", "--login-only", **env).code == 0
    person.keyring.lock()
    done = person.home.run("test", "--json", **env)
    assert (done.code, done.json["error"]["code"], done.json["error"]["retry"]) == (75, "secret.keyring-locked", True)


def test_a_failed_write_of_the_configuration_leaves_the_keyring_unchanged(person: Person, facts: SandboxFacts) -> None:
    env = person.keyring.env
    arguments = (*server_options(facts), "--password-stdin")
    full = replace(person.home, disk_is_full=True)
    done = full.run("configure", "a@example.com", *arguments, stdin=PASSWORD + "\n", **env)
    assert done.code == 74
    with pytest.MonkeyPatch.context() as patch:
        for name, value in env.items():
            patch.setenv(name, value)
        with pytest.raises(SmtpsetupError, match="holds no password"):
            stores.read(account_at(465, name="a@example.com"), may_prompt=False)
