"""An account for scripts is tested in the environment of cron, and doctor reports what is wrong."""

from __future__ import annotations

import os
import re
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from smtpsetup.setup import sendmail_check
from tests.conftest import PASSWORD, Home
from tests.person import Person, ended
from tests.servers import closed_port
from tests.workflows.conftest import tls_at

if TYPE_CHECKING:
    from pathlib import Path

    import pexpect

    from smtpsetup.sandbox.server import Sandbox, SandboxFacts

needs_a_machine_without_a_session = pytest.mark.skipif(
    os.path.exists(f"/run/user/{os.getuid()}/bus"),
    reason="cron finds this machine's own session bus: run it where nobody is logged in",
)
CRON = {"PATH": "/usr/bin:/bin", "SHELL": "/bin/sh", "LOGNAME": "root"}


def as_cron(home: Home, command: str) -> subprocess.CompletedProcess[str]:
    """Run the command of a crontab line in the environment of cron."""
    return subprocess.run(
        ["/bin/sh", "-c", command],
        env={"HOME": str(home.path), **CRON},
        cwd=home.path,
        capture_output=True,
        text=True,
        check=False,
    )


def crontab_command(shown: str) -> str:
    """The command of the crontab line on the screen."""
    line = next(line for line in shown.splitlines() if line.startswith("0 3 * * * "))
    return line.removeprefix("0 3 * * * ").replace("\\%", "%")


def test_configure_unattended_prints_a_crontab_line_that_works(
    home: Home, sandbox: Sandbox, facts: SandboxFacts
) -> None:
    done = home.configure(facts, "--unattended")
    assert done.code == 0, done.err
    run = as_cron(home, crontab_command(done.out))
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
    assert [mail.subject for mail in sandbox.mails] == ["Backup"]
    assert "[Service]" in done.out
    assert PASSWORD not in done.out + done.err


def test_a_password_that_cron_cannot_read_is_reported(home: Home, facts: SandboxFacts) -> None:
    arguments = (*tls_at(facts.tls_port, facts.ca_file), "--password-env", "MAIL_PW")
    done = home.run("configure", "info@example.com", *arguments, "--unattended", "--json", MAIL_PW=PASSWORD)
    assert (done.code, done.json["error"]["code"]) == (78, "secret.missing")
    assert home.run("test", "--login-only", MAIL_PW=PASSWORD).code == 0


def test_json_keeps_its_keys_when_scripts_will_use_the_account(home: Home, facts: SandboxFacts) -> None:
    result = home.configure(facts, "--unattended", "--json").json["result"]
    assert set(result) == {
        *("account", "address", "from_name", "provider", "host", "port", "security"),
        *("auth", "username", "secret_store", "default", "verified"),
        *("transport", "endpoint", "proxy", "fallback"),
    }


def to_the_choice_of_a_store(person: Person, facts: SandboxFacts) -> pexpect.spawn[str]:
    """`configure` at a terminal up to the choice of another store: the keyring works in the session alone."""
    options = (*tls_at(facts.tls_port, facts.ca_file), "--from-name", "")
    terminal = person.types("configure", "info@example.com", *options)
    terminal.expect("Password for info@example.com.*: ")
    terminal.waitnoecho()
    terminal.sendline(PASSWORD)
    terminal.expect("Will scripts or cron send with it.*: ")
    terminal.sendline("y")
    terminal.expect(r"no\s+session\s+bus")
    terminal.expect("Which one.*: ")
    return terminal


@needs_a_machine_without_a_session
def test_the_secret_stores_that_work_from_cron_are_offered(
    person: Person, sandbox: Sandbox, facts: SandboxFacts
) -> None:
    terminal = to_the_choice_of_a_store(person, facts)
    terminal.sendline("1")
    shown = ended(terminal, 0)
    file = person.home.path / ".config" / "smtpsetup" / "passwords" / "info@example.com"
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.read_text() == PASSWORD + "\n"
    assert as_cron(person.home, crontab_command(shown)).returncode == 0
    assert len(sandbox.mails) == 1


@needs_a_machine_without_a_session
def test_numbered_choices_are_wrapped_under_their_text(person: Person, facts: SandboxFacts) -> None:
    person.columns = 40
    terminal = to_the_choice_of_a_store(person, facts)
    shown = str(terminal.before).replace("\r", "")
    assert re.search(
        r"  1  a file that only you can read:\n     \S*/passwords/info@example.com\n  2  a command that prints it, "
        r"such as\n",
        shown,
    ), shown
    terminal.sendline("4")
    ended(terminal, 78)


@needs_a_machine_without_a_session
def test_after_a_failing_command_another_store_can_be_chosen(person: Person, facts: SandboxFacts) -> None:
    person.home.file("password", PASSWORD + "\n")
    terminal = to_the_choice_of_a_store(person, facts)
    terminal.sendline("2")
    terminal.expect("Command: ")
    terminal.sendline("false")
    terminal.expect("secret.command-failed")
    terminal.expect("Which one.*: ")
    terminal.sendline("2")
    terminal.expect("Command: ")
    terminal.sendline("cat password")
    assert "0 3 * * *" in ended(terminal, 0)
    assert person.home.run("accounts", "show", "--json").json["result"]["secret_store"] == "command"


@needs_a_machine_without_a_session
def test_a_systemd_credential_comes_with_its_unit_and_a_test_command(person: Person, facts: SandboxFacts) -> None:
    terminal = to_the_choice_of_a_store(person, facts)
    terminal.sendline("3")
    terminal.expect("Name of the credential.*: ")
    terminal.sendline("mail")
    shown = ended(terminal, 0)
    for part in (
        "systemd-creds encrypt --name=mail",
        "LoadCredentialEncrypted=mail:/etc/credstore.encrypted/mail",
        "systemd-run --wait",
    ):
        assert part in shown.replace("\r\n", "")


# doctor


def statuses(document: dict[str, Any]) -> dict[str, str]:
    return {check["check"]: check["status"] for check in document["result"]["checks"]}


def test_doctor_finds_nothing_wrong_with_a_password_file(home: Home, facts: SandboxFacts) -> None:
    home.configure(facts)
    done = home.run("doctor", "--json")
    found = statuses(done.json)
    assert done.code == 0, done.out
    for check in ("config", "state", "outbox", "dns", "ipv4", "secret", "login", "certificate", "trust"):
        assert found[check] == "ok", done.out
    assert found["timer"] == "warning"
    assert {key for check in done.json["result"]["checks"] for key in check} == {
        "check",
        "status",
        "message",
        "hints",
        "code",
    }
    assert PASSWORD not in done.out


def test_doctor_says_in_words_what_is_wrong_and_what_to_change(home: Home, facts: SandboxFacts) -> None:
    home.configure(facts)
    (home.path / "password").chmod(0o644)
    done = home.run("doctor")
    assert done.code == 78
    assert "wrong" in done.out
    assert "chmod 600" in done.out
    assert "1 thing is wrong" in done.out


def test_doctor_all_examines_the_machine_and_every_account(home: Home, facts: SandboxFacts) -> None:
    for address in ("info@example.com", "bok@example.com"):
        home.configure(facts, address=address)
    done = home.run("doctor", "--all", "--json")
    assert done.code == 0, done.out
    machine, *accounts = done.json["result"]
    assert machine["account"] is None
    assert [one["account"] for one in accounts] == ["info@example.com", "bok@example.com"]
    assert "outbox" in {check["check"] for check in machine["checks"]}
    assert all("login" in {check["check"] for check in one["checks"]} for one in accounts)
    assert home.run("doctor", "info@example.com", "--all").code == 2


def test_doctor_without_an_account_checks_the_machine(home: Home) -> None:
    done = home.run("doctor", "--json")
    assert (done.code, done.json["error"]["code"]) == (78, "config.no-account")
    assert statuses(done.json)["trust"] == "ok"


def test_doctor_reports_a_refused_login_and_an_unreachable_server(home: Home, facts: SandboxFacts) -> None:
    home.configure(facts)
    home.file("password", "wrong\n")
    done = home.run("doctor", "--json")
    assert (done.code, done.json["error"]["code"]) == (77, "auth.bad-credentials")
    with closed_port() as port:
        home.config.write_text(home.config.read_text().replace(f"port = {facts.tls_port}", f"port = {port}"))
        done = home.run("doctor", "--json")
    assert (done.code, done.json["error"]["code"]) == (75, "connect.refused")
    assert statuses(done.json)["ipv4"] == "warning"


def test_doctor_describes_passed_checks_in_words(
    home: Home, facts: SandboxFacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.configure(facts)
    messages = {check["check"]: check["message"] for check in home.run("doctor", "--json").json["result"]["checks"]}
    assert messages["outbox"] == "The outbox is empty."
    assert home.run("outbox", "list").code == 0  # which makes the file
    messages = {check["check"]: check["message"] for check in home.run("doctor", "--json").json["result"]["checks"]}
    assert messages["outbox"] == "The outbox is empty."
    assert messages["clock"].startswith("The clock shows a time that can be right")
    assert messages["program"].startswith(("cron finds smtpsetup", "Write "))
    program = tmp_path / "sendmail"
    program.touch()
    monkeypatch.setattr(sendmail_check, "_SENDMAIL", (str(program),))
    assert sendmail_check.check_sendmail().message.startswith(f"{program} is another program: ")
    link = tmp_path / "link"
    link.symlink_to(program)
    monkeypatch.setattr(sendmail_check, "_SENDMAIL", (str(link),))
    assert sendmail_check.check_sendmail().message.startswith(f"{link} is {program}: ")


def test_doctor_reports_a_damaged_outbox(home: Home, sandbox: Sandbox, facts: SandboxFacts) -> None:
    home.configure(facts)
    database = home.path / ".local" / "state" / "smtpsetup" / "outbox.db"
    assert home.run("send", "a@example.com", "--body", "x", "--queue", "always").code == 0
    assert statuses(home.run("doctor", "--json").json)["outbox"] == "ok"
    database.write_bytes(b"no database at all, but a text that is long enough " * 100)
    done = home.run("doctor", "--json")
    assert done.code == 78
    assert statuses(done.json)["outbox"] == "wrong"


def test_doctor_reports_an_empty_trust_store(home: Home, facts: SandboxFacts) -> None:
    home.configure(facts)
    empty = home.file("empty.pem", "")
    found = home.run("doctor", "--json", SSL_CERT_FILE=str(empty), SSL_CERT_DIR=str(home.path / "none"))
    assert statuses(found.json)["trust"] == "wrong"


def test_doctor_names_the_machines_sendmail(home: Home, facts: SandboxFacts) -> None:
    home.configure(facts)
    message = next(
        check["message"]
        for check in home.run("doctor", "--json").json["result"]["checks"]
        if check["check"] == "sendmail"
    )
    assert "/usr/sbin/sendmail" in message
