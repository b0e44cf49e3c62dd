"""smtpsetup-sendmail as daemons run it: other users, no home, closed streams, a system-wide configuration."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import PASSWORD, Home, Run
from tests.sendmail import OWN, PROGRAM, body_of, checked, config_text, configured, kept, sendmail, sent
from tests.servers import closed_port

if TYPE_CHECKING:
    from smtpsetup.sandbox.server import Sandbox, SandboxFacts
    from tests.machine import Machine

pytestmark = pytest.mark.slow  # with users, mounts and a machine of its own
MESSAGE = "To: asa@example.com\nSubject: x\n\nx\n"


def system_wide(machine: Machine, facts: SandboxFacts, *, mode: int = 0o644, top: str = "", rows: str = "") -> Path:
    """A system-wide configuration whose password every user may read, through a command."""
    machine.file("smtpsetup/password", PASSWORD + "\n")
    text = config_text(facts.tls_port, facts.ca_file, Path("/etc/smtpsetup/password"), top=top, rows=rows)
    text = text.replace(
        'store = "file", path = "/etc/smtpsetup/password"', 'store = "command", command = "cat /etc/smtpsetup/password"'
    )
    return machine.file("smtpsetup/config.toml", text, mode)


@pytest.fixture
def home_on_machine(machine: Machine, home: Home) -> Home:
    """A home on that machine."""
    return replace(home, prefix=machine.prefix())


@pytest.fixture
def as_nobody(machine: Machine, home: Home) -> Home:
    """A home of the user nobody on that machine."""
    os.chown(home.path, 65534, 65534)
    return replace(home, env={**home.unmeasured.env, "TMPDIR": str(home.path)}, prefix=machine.prefix(as_nobody=True))


def test_the_system_configuration_is_used_without_a_users_own(
    sandbox: Sandbox, facts: SandboxFacts, machine: Machine, home_on_machine: Home
) -> None:
    system_wide(machine, facts, top='[aliases]\nroot = "asa@example.com"')
    assert sent(home_on_machine, sandbox, "root", stdin=MESSAGE).recipients == ("asa@example.com",)


def test_another_user_sends_with_the_system_configuration(
    sandbox: Sandbox, facts: SandboxFacts, machine: Machine, as_nobody: Home
) -> None:
    system_wide(machine, facts, top='[aliases]\nroot = "asa@example.com"')
    mail = sent(as_nobody, sandbox, "-t", "root", "nobody", stdin="From: www-data\n" + MESSAGE)
    assert set(mail.recipients) == {"asa@example.com", OWN}
    assert str(mail.message["From"]) == OWN


def test_a_user_without_a_home_sends_with_the_system_configuration(
    sandbox: Sandbox, facts: SandboxFacts, machine: Machine, as_nobody: Home
) -> None:
    system_wide(machine, facts)
    without = {name: value for name, value in as_nobody.env.items() if name != "HOME"}
    sent(replace(as_nobody, env=without), sandbox, "-t", stdin=MESSAGE)


def test_a_uid_without_a_passwd_entry_sends_with_the_system_configuration(
    sandbox: Sandbox, facts: SandboxFacts, machine: Machine, as_nobody: Home
) -> None:
    system_wide(machine, facts)
    without = {name: value for name, value in as_nobody.env.items() if name != "HOME"}
    prefix = tuple(part.replace("=65534", "=54321") for part in as_nobody.prefix)
    sent(replace(as_nobody, env=without, prefix=prefix), sandbox, "-t", stdin=MESSAGE)


@pytest.mark.parametrize("wrong", ["/", "another user's", "none"])
def test_the_home_of_the_password_database_is_used_where_home_is_not_ones_own(
    sandbox: Sandbox, facts: SandboxFacts, machine: Machine, home_on_machine: Home, wrong: str
) -> None:
    configured(home_on_machine, facts)
    passwd = machine.etc / "passwd"
    root = f"root:x:0:0:root:{home_on_machine.path}:/bin/sh"
    passwd.write_text("\n".join([root, *passwd.read_text(encoding="utf-8").splitlines()[1:], ""]), encoding="utf-8")
    others = machine.directory / "others"
    others.mkdir()
    os.chown(others, 65534, 65534)
    env = {**home_on_machine.env, "HOME": {"/": "/", "none": ""}.get(wrong, str(others))}
    before = set(os.listdir("/"))
    sent(replace(home_on_machine, env=env), sandbox, "-t", stdin=MESSAGE)
    assert (set(os.listdir("/")), os.listdir(others)) == (before, [])


def test_a_user_whose_home_is_the_root_directory_leaves_nothing_in_it(
    sandbox: Sandbox, facts: SandboxFacts, machine: Machine, as_nobody: Home
) -> None:
    system_wide(machine, facts)
    passwd = machine.etc / "passwd"
    passwd.write_text("nobody:x:65534:65534::/:/bin/sh\nroot:x:0:0::/root:/bin/sh\n", encoding="utf-8")
    before = set(os.listdir("/"))
    sent(replace(as_nobody, env={**as_nobody.env, "HOME": "/"}), sandbox, "-t", stdin=MESSAGE)
    assert set(os.listdir("/")) == before


def test_the_users_configuration_takes_precedence_over_the_systems(
    sandbox: Sandbox, facts: SandboxFacts, machine: Machine, home_on_machine: Home
) -> None:
    system_wide(machine, facts, top='[aliases]\nroot = "asa@example.com"\ndrift = "drift@example.com"')
    home_on_machine.file("password", PASSWORD)
    own = config_text(
        facts.tls_port,
        facts.ca_file,
        home_on_machine.path / "password",
        top='[aliases]\nroot = "bo@example.com"',
        address="bo@example.com",
    )
    home_on_machine.file(str(home_on_machine.config.relative_to(home_on_machine.path)), own)
    mail = sent(home_on_machine, sandbox, "root", "drift", stdin=MESSAGE)
    assert (mail.username, mail.recipients) == ("bo@example.com", ("bo@example.com", "drift@example.com"))
    assert sendmail(home_on_machine, "-a", OWN, "root", stdin=MESSAGE).code == 0
    assert sandbox.mails[1].username == OWN


def test_a_named_configuration_is_not_merged_with_the_systems(
    facts: SandboxFacts, machine: Machine, home_on_machine: Home
) -> None:
    system_wide(machine, facts)
    assert sendmail(home_on_machine, "-t", "-C", str(home_on_machine.file("empty.toml", "")), stdin=MESSAGE).code == 78


@pytest.mark.parametrize("mode", [0o664, 0o646, 0o666, 0o622])
def test_a_system_configuration_writable_by_others_is_refused(
    mode: int, facts: SandboxFacts, machine: Machine, home_on_machine: Home
) -> None:
    system_wide(machine, facts, mode=mode)
    done = sendmail(home_on_machine, "-t", stdin=MESSAGE)
    assert done.code == 78
    assert "config.permissions" in done.err


def test_a_system_configuration_not_owned_by_root_is_refused(
    facts: SandboxFacts, machine: Machine, home_on_machine: Home
) -> None:
    os.chown(system_wide(machine, facts), 65534, 65534)
    done = sendmail(home_on_machine, "-t", stdin=MESSAGE)
    assert done.code == 78
    assert "config.permissions" in done.err


def test_mail_of_an_account_of_the_system_configuration_is_queued_and_flushed(
    sandbox: Sandbox, facts: SandboxFacts, machine: Machine, home_on_machine: Home
) -> None:
    path = system_wide(machine, facts)
    text = path.read_text()
    with closed_port() as port:
        path.write_text(text.replace(f"port = {facts.tls_port}", f"port = {port}"))
        assert sendmail(home_on_machine, "-t", stdin=MESSAGE).code == 0
    path.write_text(text)
    (mail,) = kept(home_on_machine)
    assert home_on_machine.run("outbox", "retry", str(mail.id)).code == 0
    done = sendmail(home_on_machine, "-q")
    assert done.code == 0, done.err
    assert kept(home_on_machine) == []
    assert len(sandbox.mails) == 1


def redirected(home: Home, streams: str, message: str = MESSAGE, *flags: str) -> Run:
    """A run whose streams a shell redirects."""
    script = f'exec "$0" "$@" {streams}'
    done = subprocess.run(
        ["sh", "-c", script, PROGRAM, *flags],
        env=home.env,
        cwd=home.path,
        input=message.encode(),
        capture_output=True,
        timeout=60,
        check=False,
    )
    return checked(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("streams", ["<&-", "<&- 2>&-", "<&- >&- 2>&-", "</dev/null"])
def test_without_standard_input_the_message_is_empty_or_an_error(
    streams: str, sandbox: Sandbox, facts: SandboxFacts, home: Home
) -> None:
    configured(home, facts)
    done = redirected(home, streams, "", "asa@example.com")
    assert done.code in (0, 66, 74)
    assert done.out == ""
    assert len(sandbox.mails) == (done.code == 0)


@pytest.mark.parametrize("streams", [">&-", "2>&-", ">&- 2>&-", "2>/dev/full", ">/dev/full 2>/dev/full"])
def test_mail_and_exit_codes_work_without_usable_output_streams(
    streams: str, sandbox: Sandbox, facts: SandboxFacts, home: Home
) -> None:
    configured(home, facts)
    assert redirected(home, streams, MESSAGE, "-t").code == 0
    assert redirected(home, streams, MESSAGE, "-t", "-v").code == 0
    assert body_of(sandbox.mails[0]) == body_of(sandbox.mails[1]) == b"x\r\n"
    done = redirected(home, streams, MESSAGE, "-t", "-a", "nobody")
    assert (done.code, done.out) == (78, "")
    assert redirected(home, streams, MESSAGE, "-j").code == 64


def test_standard_input_that_cannot_be_read_is_an_error(facts: SandboxFacts, home: Home) -> None:
    configured(home, facts)
    with (home.path / "closed").open("wb") as file:  # open for writing alone
        done = subprocess.run(
            [PROGRAM, "asa@example.com"], env=home.env, stdin=file, capture_output=True, timeout=60, check=False
        )
    assert checked(done.returncode, done.stdout, done.stderr).code in (66, 74)


def read_only(machine: Machine, home: Home) -> Home:
    """That home, mounted read-only."""
    return replace(
        home,
        prefix=(*machine.prefix(), "sh", "-c", f'mount --bind -o ro "{home.path}" "{home.path}" && exec "$@"', "sh"),
    )


def test_mail_is_sent_from_a_read_only_home(
    sandbox: Sandbox, facts: SandboxFacts, home: Home, machine: Machine
) -> None:
    configured(home, facts)
    sent(read_only(machine, home), sandbox, "-t", stdin=MESSAGE)


def test_mail_that_can_neither_be_sent_nor_kept_is_saved_to_a_reported_file(
    facts: SandboxFacts, home: Home, machine: Machine, tmp_path: Path
) -> None:
    configured(home, facts)
    with closed_port() as port:
        home.config.write_text(home.config.read_text().replace(f"port = {facts.tls_port}", f"port = {port}"))
        done = sendmail(
            read_only(machine, home), "-t", stdin="Bcc: hemlig@example.com\n" + MESSAGE, TMPDIR=str(tmp_path)
        )
    assert done.code == 74
    (saved,) = tmp_path.glob("smtpsetup-unsent-*.eml")
    assert str(saved) in done.err
    assert saved.stat().st_mode & 0o777 == 0o600
    header = saved.read_text().partition("\n\n")[0]
    assert "hemlig@example.com" in header
    assert "asa@example.com" in header


def test_a_saved_mail_can_be_sent_with_t(
    sandbox: Sandbox, facts: SandboxFacts, home: Home, machine: Machine, tmp_path: Path
) -> None:
    configured(home, facts)
    text = home.config.read_text()
    with closed_port() as port:
        home.config.write_text(text.replace(f"port = {facts.tls_port}", f"port = {port}"))
        assert (
            sendmail(
                read_only(machine, home), "-t", stdin="Bcc: hemlig@example.com\n" + MESSAGE, TMPDIR=str(tmp_path)
            ).code
            == 74
        )
    home.config.write_text(text)
    (saved,) = tmp_path.glob("smtpsetup-unsent-*.eml")
    mail = sent(home, sandbox, "-t", stdin=saved.read_bytes())
    assert set(mail.recipients) == {"asa@example.com", "hemlig@example.com"}
    assert b"hemlig" not in mail.content


@pytest.mark.parametrize("language", ["C", "POSIX", "sv_SE.UTF-8", "sv_SE.ISO-8859-1"])
def test_mail_does_not_depend_on_the_locale(language: str, sandbox: Sandbox, facts: SandboxFacts, home: Home) -> None:
    configured(home, facts)
    done = sendmail(home, "-t", "-F", "Åsa €", stdin=MESSAGE + "åäö\n", LANG=language, LC_ALL=language)
    assert (done.code, done.err) == (0, "")
    assert sandbox.mails[0].message.get_content().replace("\r\n", "\n") == "x\nåäö\n"
    assert sendmail(home, "ångström", stdin=MESSAGE, LANG=language, LC_ALL=language).code == 67
