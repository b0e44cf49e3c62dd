"""An account and its secret are saved and removed together: both or neither, whatever fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from smtpsetup.config import accounts
from smtpsetup.config.secret_source import SecretSource, Store
from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.model import Secret
from smtpsetup.credentials import stores
from smtpsetup.setup.save_account import remove, save
from tests.conftest import account_at

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers import Keyring

ACCOUNT = account_at(465)


@pytest.fixture(autouse=True)
def session(keyring: Keyring, monkeypatch: pytest.MonkeyPatch) -> Keyring:
    for name, value in keyring.env.items():
        monkeypatch.setenv(name, value)
    return keyring


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def in_keyring() -> str | None:
    try:
        return stores.read(ACCOUNT, may_prompt=False).reveal()
    except SmtpsetupError:
        return None


def fails(*_arguments: object, **_more: object) -> None:
    raise OSError(28, "No space left on device")


def test_an_account_and_its_secret_are_saved_and_removed_together(path: Path) -> None:
    assert save(path, ACCOUNT, Secret("one"), make_default=False).is_default
    assert in_keyring() == "one"
    assert remove(path, ACCOUNT, keep_secret=False)
    assert in_keyring() is None
    assert accounts.load(path).accounts == {}
    assert accounts.load(path).default == ""


@pytest.mark.parametrize("before", [None, "one"])
def test_when_the_file_cannot_be_written_the_keyring_is_as_before(
    path: Path, monkeypatch: pytest.MonkeyPatch, before: str | None
) -> None:
    if before:
        save(path, ACCOUNT, Secret(before), make_default=True)
    text = path.read_text() if before else None
    monkeypatch.setattr("smtpsetup.state.files.os.replace", fails)
    with pytest.raises(OSError, match="No space"):
        save(path, ACCOUNT._replace(from_name="other"), Secret("two"), make_default=True)
    assert in_keyring() == before
    assert (path.read_text() if path.exists() else None) == text


def test_when_the_account_cannot_be_removed_its_secret_stays(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(path, ACCOUNT, Secret("one"), make_default=True)
    monkeypatch.setattr("smtpsetup.state.files.os.replace", fails)
    with pytest.raises(OSError, match="No space"):
        remove(path, ACCOUNT, keep_secret=False)
    assert in_keyring() == "one"


def test_when_the_keyring_is_locked_nothing_is_removed_unless_the_secret_may_stay(path: Path, session: Keyring) -> None:
    save(path, ACCOUNT, Secret("one"), make_default=True)
    session.lock()
    with pytest.raises(SmtpsetupError) as caught:
        remove(path, ACCOUNT, keep_secret=False)
    assert caught.value.code == "secret.keyring-locked"
    assert ACCOUNT.name in accounts.load(path).accounts
    assert not remove(path, ACCOUNT, keep_secret=True)
    assert accounts.load(path).accounts == {}


def test_an_account_without_a_secret_can_be_removed(path: Path) -> None:
    save(path, ACCOUNT, None, make_default=True)
    assert not remove(path, ACCOUNT, keep_secret=False)


def test_a_password_that_moves_out_of_the_keyring_is_deleted_there(
    path: Path, tmp_path: Path, session: Keyring
) -> None:
    save(path, ACCOUNT, Secret("one"), make_default=True)
    moved = ACCOUNT._replace(secret=SecretSource(Store.FILE, str(tmp_path / "password")))
    assert not save(path, moved, None, make_default=False).left_behind
    assert in_keyring() is None
    save(path, ACCOUNT, Secret("one"), make_default=True)
    session.lock()
    assert save(path, moved, None, make_default=False).left_behind


def test_a_file_gets_its_old_password_back_when_the_account_cannot_be_saved(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "password"
    file.write_text("one\n")
    file.chmod(0o600)
    account = ACCOUNT._replace(secret=SecretSource(Store.FILE, str(file)))
    save(path, account, Secret("two"), make_default=True)
    assert file.read_text() == "two\n"
    monkeypatch.setattr("smtpsetup.config.toml_edit.with_table", fails)
    with pytest.raises(OSError, match="No space"):
        save(path, account, Secret("three"), make_default=True)
    assert file.read_text() == "two\n"
