"""Who may use a file on Windows: every entry of its list counts, not its mode."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from smtpsetup.config import accounts
from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.credentials import file_store
from smtpsetup.providers import table
from smtpsetup.state import private_dir, windows_acl
from tests.windows import EVERYONE, FULL, OWN, Acl, Descriptor, as_windows, private

if TYPE_CHECKING:
    from pathlib import Path

USERS = "S-1-5-32-545"
READ = 0x120089
MODIFY = 0x1301BF


@pytest.fixture
def lists(monkeypatch: pytest.MonkeyPatch) -> dict[str, Descriptor]:
    return as_windows(monkeypatch)


def with_entry(rights: int, sid: str, *, kind: int = 0, flags: int = 0) -> Descriptor:
    acl = private()
    acl.entries.append(((kind, flags), rights, sid))
    return Descriptor(OWN, acl)


OPEN = {
    "everybody may read it": with_entry(READ, EVERYONE),
    "users may change it": with_entry(MODIFY, USERS),
    "a conditional entry": with_entry(READ, USERS, kind=9),
    "another user owns it": Descriptor("S-1-5-21-1-2-3-1002", private()),
    "it has no list": Descriptor(OWN, None),
    "others may take it over": with_entry(0x80000, USERS),
    "a generic right, whose number is negative in pywin32": with_entry(-0x8000_0000, USERS),
}
CLOSED = {
    "the user, the system and administrators": Descriptor(OWN, private()),
    "administrators own it": Descriptor("S-1-5-32-544", private()),
    "others are denied": with_entry(FULL, USERS, kind=1),
    "others may see only its attributes": with_entry(0x100080, USERS),
    "nobody is in the list": Descriptor(OWN, Acl()),
}


@pytest.mark.parametrize("case", OPEN)
def test_a_password_that_others_may_use_is_refused(lists: dict[str, Descriptor], tmp_path: Path, case: str) -> None:
    path = tmp_path / "password"
    path.write_text("secret\n")
    lists[str(path)] = OPEN[case]
    with pytest.raises(SmtpsetupError) as caught:
        file_store.read(str(path), "a", may_prompt=False)
    assert caught.value.code == "secret.file-permissions"
    assert "icacls" in caught.value.hints[0]


@pytest.mark.parametrize("case", CLOSED)
def test_a_private_password_is_read(lists: dict[str, Descriptor], tmp_path: Path, case: str) -> None:
    path = tmp_path / "password"
    path.write_text("secret\n")
    lists[str(path)] = CLOSED[case]
    assert file_store.read(str(path), "a", may_prompt=False) == "secret\n"


def test_a_list_that_cannot_be_read_is_not_trusted(
    lists: dict[str, Descriptor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "password"
    path.write_text("secret\n")

    def fails(path: str) -> windows_acl.Access:
        raise OSError(5, "Access is denied", path)

    monkeypatch.setattr(windows_acl, "_access", fails)
    with pytest.raises(SmtpsetupError, match="cannot be found out"):
        file_store.read(str(path), "a", may_prompt=False)


def test_a_state_directory_that_others_can_change_or_replace_is_refused(
    lists: dict[str, Descriptor], tmp_path: Path
) -> None:
    directory = tmp_path / "above" / "state"
    private_dir.prepare(str(directory))
    made = lists[str(directory)].acl
    assert made
    assert all(flags == 3 for (_kind, flags), _rights, _sid in made.entries)  # what is made in it has the same list
    for place in (directory, directory.parent):
        lists[str(place)] = with_entry(MODIFY, USERS)
        with pytest.raises(private_dir.UnsafePathError):
            private_dir.prepare(str(directory))
        lists[str(place)] = Descriptor(OWN, private())


def test_a_directory_above_may_let_others_add_files(lists: dict[str, Descriptor], tmp_path: Path) -> None:
    """As `C:\\` does for every user who has logged in; its entry to change them is for what is made there."""
    entry = with_entry(0x4, "S-1-5-11")
    assert entry.acl
    entry.acl.entries.append(((0, 0xB), MODIFY, "S-1-5-11"))
    lists[str(tmp_path)] = entry
    private_dir.prepare(str(tmp_path / "state"))


def test_a_file_of_the_state_directory_that_others_can_write_is_refused(
    lists: dict[str, Descriptor], tmp_path: Path
) -> None:
    path = tmp_path / "outbox.lock"
    path.touch()
    lists[str(path)] = with_entry(0x2, USERS)
    with pytest.raises(private_dir.UnsafePathError):
        private_dir.open_file(str(path), 0)


def test_a_configuration_or_a_table_that_others_can_change_is_refused(
    lists: dict[str, Descriptor], tmp_path: Path
) -> None:
    path = tmp_path / "config.toml"
    path.write_text("version = 1\n")
    accounts.load(path)
    table._check_permissions(str(path))
    lists[str(path)] = with_entry(MODIFY, USERS)
    for check in (accounts.load, lambda path: table._check_permissions(str(path))):
        with pytest.raises(SmtpsetupError) as caught:
            check(path)
        assert caught.value.code == "config.permissions"
