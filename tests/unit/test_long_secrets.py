"""A secret that is too long for one keyring entry is kept in several, and is never read in part."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from smtpsetup.credentials import long_secrets

if TYPE_CHECKING:
    from keyring.backend import KeyringBackend

LIMIT = 2560  # bytes


class Vault:
    """A keyring as on Windows, with 2,560 bytes of UTF-16 in an entry; it fails after `changes_left` changes."""

    def __init__(self) -> None:
        self.entries: dict[str, str] = {}
        self.changes_left = 10_000

    def get_password(self, _service: str, account: str) -> str | None:
        return self.entries.get(account)

    def set_password(self, _service: str, account: str, value: str) -> None:
        self._change()
        assert len(value.encode("utf-16-le")) <= LIMIT
        self.entries[account] = value

    def delete_password(self, _service: str, account: str) -> None:
        self._change()
        del self.entries[account]

    def _change(self) -> None:
        if not self.changes_left:
            raise OSError
        self.changes_left -= 1


def as_backend(vault: Vault) -> KeyringBackend:
    backend: Any = vault
    return backend  # type: ignore[no-any-return]  # it has the three methods that are used


@pytest.mark.parametrize("character", ["a", "å", "😀"])
@pytest.mark.parametrize("length", [0, 1, 640, 641, 1280, 1281, 2560, 5000])
def test_read_returns_what_write_stored(length: int, character: str) -> None:
    vault = Vault()
    value = character * length
    long_secrets.write(as_backend(vault), "a", value, LIMIT)
    assert long_secrets.read(as_backend(vault), "a") == value
    assert (len(vault.entries) == 1) == (len(value.encode("utf-16-le")) <= LIMIT)
    long_secrets.delete(as_backend(vault), "a")
    assert vault.entries == {}


def test_a_new_secret_leaves_nothing_of_the_old_one() -> None:
    vault = Vault()
    for value in ("x" * 4000, "y" * 3000, "z"):
        long_secrets.write(as_backend(vault), "a", value, LIMIT)
        assert long_secrets.read(as_backend(vault), "a") == value
    assert list(vault.entries) == ["a"]


@pytest.mark.parametrize("changes", range(14))
def test_a_write_that_fails_at_any_point_leaves_the_old_or_the_new_secret(changes: int) -> None:
    vault = Vault()
    old, new = "x" * 4000, "y" * 3000
    long_secrets.write(as_backend(vault), "a", old, LIMIT)
    vault.changes_left = changes
    try:
        long_secrets.write(as_backend(vault), "a", new, LIMIT)
    except OSError:
        assert changes < 13
    assert long_secrets.read(as_backend(vault), "a") in (old, new)


def test_a_secret_with_a_missing_part_is_not_returned() -> None:
    vault = Vault()
    long_secrets.write(as_backend(vault), "a", "x" * 4000, LIMIT)
    del vault.entries[next(name for name in vault.entries if name != "a")]
    assert long_secrets.read(as_backend(vault), "a") is None
