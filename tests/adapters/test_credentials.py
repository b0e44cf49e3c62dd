"""Every secret store, with a real keyring: unlocked, locked, empty and absent."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from smtpsetup.config.secret_source import SecretSource, Store
from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.model import Auth, Secret
from smtpsetup.credentials import stores
from tests.conftest import account_at

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers import Keyring

SECRET = "lösenord-åäö €"


def read(store: Store, reference: str = "") -> str:
    return stores.read(account_at(465, secret=SecretSource(store, reference)), may_prompt=False).reveal()


def refused(store: Store, reference: str = "") -> SmtpsetupError:
    with pytest.raises(SmtpsetupError) as caught:
        read(store, reference)
    assert caught.value.hints
    assert SECRET not in str(caught.value.__dict__)
    return caught.value


# what holds for every store


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> tuple[Store, str]:
    """A store that holds SECRET; files and commands end it with a line end."""
    store: Store = request.param
    file = tmp_path / "secret"
    file.write_text(SECRET + "\n")
    file.chmod(0o600)
    if store is Store.ENV:
        monkeypatch.setenv("MAIL_PASSWORD", SECRET)
        return store, "MAIL_PASSWORD"
    if store is Store.SYSTEMD:
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
        return store, "secret"
    if store is Store.COMMAND:
        return store, f"cat {file}"
    return store, str(file)


@pytest.mark.parametrize("stored", [Store.FILE, Store.ENV, Store.SYSTEMD, Store.COMMAND], indirect=True)
def test_a_store_gives_the_secret_without_the_line_end(stored: tuple[Store, str]) -> None:
    assert read(*stored) == SECRET


@pytest.mark.parametrize(
    ("store", "reference", "code"),
    [
        (Store.FILE, "/nonexistent/secret", "secret.missing"),
        (Store.FILE, "/", "secret.file-permissions"),
        (Store.FILE, "/dev/null", "secret.file-permissions"),
        (Store.ENV, "SMTPSETUP_NO_SUCH_VARIABLE", "secret.missing"),
        (Store.SYSTEMD, "mail", "secret.missing"),
        (Store.COMMAND, "/nonexistent/command", "secret.command-failed"),
        (Store.COMMAND, "false", "secret.command-failed"),
        (Store.COMMAND, "true", "secret.command-failed"),
        (Store.COMMAND, "", "secret.command-failed"),
        (Store.COMMAND, "sh -c 'unclosed", "secret.command-failed"),
        (Store.COMMAND, r"printf '\377'", "secret.command-failed"),
    ],
)
def test_a_store_without_the_secret_is_an_error_with_its_code(store: Store, reference: str, code: str) -> None:
    error = refused(store, reference)
    assert (error.code, error.exit_code) == (code, 78)


@pytest.mark.parametrize("value", ["", "\n", "a\nb", "a\rb", "a\0b"])
def test_a_secret_that_no_server_takes_is_refused(value: str) -> None:
    with pytest.raises(SmtpsetupError) as caught:
        stores.checked(value)
    assert caught.value.code == "secret.missing"


@pytest.mark.parametrize(
    ("value", "secret"),
    [("a\n", "a"), ("a\r\n", "a"), (" a ", " a "), ("å", "å"), ("abcd efgh ijkl mnop", "abcd efgh ijkl mnop")],
)
def test_only_the_line_end_is_stripped(value: str, secret: str) -> None:
    assert stores.checked(value).reveal() == secret


def test_blanks_in_an_app_password_are_removed() -> None:
    assert stores.checked("abcd efgh ijkl mnop", Auth.APP_PASSWORD).reveal() == "abcdefghijklmnop"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o666])
def test_a_file_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "secret"
    file.write_text(SECRET)
    file.chmod(mode)
    error = refused(Store.FILE, str(file))
    assert error.code == "secret.file-permissions"
    assert f"chmod 600 {file}" in error.hints[0]


def test_a_file_behind_a_symbolic_link_or_of_another_user_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(SECRET)
    file.chmod(0o600)
    (tmp_path / "link").symlink_to(file)
    assert refused(Store.FILE, str(tmp_path / "link")).code == "secret.missing"
    if os.getuid() == 0:
        os.chown(file, 12345, 12345)
        assert refused(Store.FILE, str(file)).code == "secret.file-permissions"


def test_a_named_pipe_as_password_file_is_refused_without_blocking(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "secret", 0o600)
    assert refused(Store.FILE, str(tmp_path / "secret")).code == "secret.file-permissions"


def test_the_first_line_of_a_command_is_the_secret_and_its_error_output_is_shown() -> None:
    assert read(Store.COMMAND, "printf 'first\\nsecond\\n'") == "first"
    assert "\\x1b[31mno key" in refused(Store.COMMAND, "sh -c 'printf \"\\033[31mno key\" >&2; exit 3'").message


def test_a_command_gets_no_standard_input_and_no_shell(tmp_path: Path) -> None:
    assert read(Store.COMMAND, "sh -c 'cat; echo x'") == "x"
    assert read(Store.COMMAND, "echo $HOME;`id`") == "$HOME;`id`"


# the keyring


@pytest.fixture
def login_session(keyring: Keyring, monkeypatch: pytest.MonkeyPatch) -> Keyring:
    for name, value in keyring.env.items():
        monkeypatch.setenv(name, value)
    return keyring


ACCOUNT = account_at(465, name="info@example.com")


def test_a_secret_in_the_keyring_is_read_replaced_and_deleted(login_session: Keyring) -> None:
    assert stores.store(ACCOUNT, Secret(SECRET)) is None
    assert read(Store.KEYRING) == SECRET
    assert stores.store(ACCOUNT, Secret("new")) == Secret(SECRET)
    assert read(Store.KEYRING) == "new"
    assert stores.forget(ACCOUNT)
    assert not stores.forget(ACCOUNT)
    error = refused(Store.KEYRING)
    assert (error.code, error.exit_code) == ("secret.missing", 78)


def test_the_keyring_command_finds_the_secret_under_the_documented_name(login_session: Keyring) -> None:
    stores.store(ACCOUNT, Secret(SECRET))
    shown = subprocess.run(
        [sys.executable, "-m", "keyring", "get", "smtpsetup", ACCOUNT.name], capture_output=True, text=True, check=True
    )
    assert shown.stdout.strip() == SECRET


def test_a_locked_keyring_is_reported_at_once(login_session: Keyring) -> None:
    stores.store(ACCOUNT, Secret(SECRET))
    login_session.lock()
    started = time.monotonic()
    error = refused(Store.KEYRING)
    assert (error.code, error.exit_code) == ("secret.keyring-locked", 75)
    assert time.monotonic() - started < 5


def test_a_bus_without_a_keyring_is_reported(bus: Keyring, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in bus.env.items():
        monkeypatch.setenv(name, value)
    error = refused(Store.KEYRING)
    assert (error.code, error.exit_code) == ("secret.keyring-unavailable", 78)


@pytest.mark.parametrize("address", [None, "unix:path=/nonexistent/bus", "autolaunch:", "nonsense"])
def test_a_missing_bus_is_reported_and_no_other_store_is_used_instead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str | None
) -> None:
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("smtpsetup.credentials.keyring_store.os.getuid", lambda: 4711)
    if address:
        monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", address)
    assert refused(Store.KEYRING).code == "secret.keyring-unavailable"
    with pytest.raises(SmtpsetupError):
        stores.store(ACCOUNT, Secret(SECRET))
    assert list(tmp_path.rglob("*")) == []


def test_the_bus_is_found_without_its_environment_variable(
    login_session: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores.store(ACCOUNT, Secret(SECRET))
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS")
    assert read(Store.KEYRING) == SECRET


def test_neither_an_environment_variable_nor_a_file_selects_another_backend(
    login_session: Keyring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "evil_backend.py").write_text(f"import pathlib; pathlib.Path({str(tmp_path / 'ran')!r}).touch()")
    config = tmp_path / "python_keyring" / "keyringrc.cfg"
    config.parent.mkdir()
    config.write_text(f"[backend]\ndefault-keyring=evil_backend.Keyring\nkeyring-path={tmp_path}\n")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "evil_backend.Keyring")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    stores.store(ACCOUNT, Secret(SECRET))
    assert read(Store.KEYRING) == SECRET
    assert not (tmp_path / "ran").exists()


def test_a_keyring_that_does_not_answer_times_out(bus: Keyring, monkeypatch: pytest.MonkeyPatch) -> None:
    # a service that takes the keyring's bus name and answers no call
    silent = (
        "import sys,time\nfrom jeepney.io.blocking import open_dbus_connection\nfrom jeepney.bus_messages import "
        "message_bus\n"
        "c = open_dbus_connection(bus=sys.argv[1])\n"
        "c.send_and_get_reply(message_bus.RequestName('org.freedesktop.secrets'))\n"
        "print('ready', flush=True)\n"
        "time.sleep(60)"
    )
    service = subprocess.Popen([sys.executable, "-c", silent, bus.address], stdout=subprocess.PIPE)
    assert service.stdout
    assert service.stdout.readline() == b"ready\n"
    for name, value in bus.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("smtpsetup.credentials.secret_service.SECONDS", 1.0)
    started = time.monotonic()
    assert refused(Store.KEYRING).code == "secret.keyring-locked"
    assert time.monotonic() - started < 5
    service.kill()
    service.wait()
    service.stdout.close()


def test_a_secret_prints_as_stars() -> None:
    secret = Secret(SECRET)
    assert [f"{secret}", repr(secret), str(secret), repr([secret])] == ["***", "***", "***", "[***]"]
    with pytest.raises(TypeError):
        hash(secret)
    with pytest.raises(TypeError):
        pickle.dumps(secret)
