"""Editing the configuration changes one place and keeps the rest; errors in it name their key."""

from __future__ import annotations

import os
import tomllib
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpsetup.config import accounts, toml_edit
from smtpsetup.config.secret_source import SecretSource, Store
from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.model import Auth, Security, Server
from tests.conftest import account_at

if TYPE_CHECKING:
    from pathlib import Path

ACCOUNT = account_at(465)
TEXT = """\
# mine\r
default = "info@example.com" # the usual one

[accounts."info@example.com"]
# the server moved in May
address = "info@example.com"
host = "old.example.com"   # was mail.example.com
port = 465
security = "tls"
colour = "blue" # not smtpsetup's

[accounts.'other']
address = 'other@example.com'
host = "smtp.example.com"
port = 587
security = "starttls"
secret.store = "command"
secret.command = '''
pass show [other]
'''

[tool.mine]
list = [
  1, # one
  2,
]
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "dir" / "config.toml"
    file.parent.mkdir()
    return file


def written(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text, newline="")
    path.chmod(mode)
    return path


def test_load_returns_what_save_wrote(path: Path) -> None:
    account = account_at(
        587,
        Security.STARTTLS,
        name='Åsa "x" [1]',
        secret=SecretSource(Store.FILE, "/a b/c"),
        ca_file="/ca.pem",
        tls_fingerprint="a" * 64,
        verified=True,
        auth=Auth.APP_PASSWORD,
    )
    accounts.save(path, account, make_default=True)
    config = accounts.load(path)
    assert config.accounts == {account.name: account}
    assert config.default == account.name
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o077 == 0o055 or os.name != "posix"


def test_an_empty_user_name_stays_empty_when_the_account_is_marked_as_verified(path: Path) -> None:
    accounts.save(path, account_at(465, username=""), make_default=True)
    accounts.mark_verified(path, accounts.load(path).account(None))
    account = accounts.load(path).account(None)
    assert (account.username, account.verified) == ("", True)


def test_the_file_has_the_documented_form(path: Path) -> None:
    accounts.save(path, ACCOUNT, make_default=True)
    assert path.read_text().startswith(
        'default = "info@example.com"\n\n[accounts."info@example.com"]\naddress = "info@example.com"\n'
    )
    assert 'secret = { store = "keyring" }\n' in path.read_text()


def test_everything_else_in_the_file_stays_byte_for_byte(path: Path) -> None:
    written(path, TEXT.replace("\r", ""))
    accounts.save(path, ACCOUNT, make_default=False)
    before, after = TEXT.replace("\r", ""), path.read_text()
    assert after.partition("[accounts.'other']")[2] == before.partition("[accounts.'other']")[2]
    assert after.startswith(before.partition("address")[0])
    assert 'colour = "blue" # not smtpsetup\'s\n' in after
    assert "port = 465\n" in after
    assert accounts.load(path).accounts["info@example.com"] == ACCOUNT


def test_a_secret_written_as_a_table_or_with_dots_is_replaced(path: Path) -> None:
    for secret in (
        'secret = { store = "env", variable = "X" }',
        'secret.store = "env"\nsecret.variable = "X"',
        '[accounts.a.secret]\nstore = "env"\nvariable = "X"',
    ):
        written(path, f'[accounts.a]\naddress = "a@x.se"\nhost = "x.se"\nport = 465\nsecurity = "tls"\n{secret}\n')
        assert accounts.load(path).accounts["a"].secret == SecretSource(Store.ENV, "X")
        accounts.save(path, account_at(465, name="a"), make_default=False)
        assert accounts.load(path).accounts["a"].secret == SecretSource(Store.KEYRING)
        assert "variable" not in path.read_text()


def test_removing_an_account_leaves_the_rest(path: Path) -> None:
    written(path, TEXT.replace("\r", ""))
    accounts.remove(path, "info@example.com")
    after = path.read_text()
    assert list(accounts.load(path).accounts) == ["other"]
    assert "default" not in after
    assert after.startswith("# mine\n")
    assert after.endswith(TEXT[TEXT.index("[tool.mine]") :])


def test_line_ends_are_kept(path: Path) -> None:
    written(path, '# x\r\n[accounts.a]\r\naddress = "a@x.se"\r\nhost = "x"\r\nport = 1\r\nsecurity = "tls"\r\n')
    accounts.save(path, ACCOUNT, make_default=True)
    raw = path.read_bytes()
    assert raw.count(b"\r\n") == raw.count(b"\n")


def test_text_is_not_appended_to_a_last_line_without_a_line_end(path: Path) -> None:
    written(path, "# x\ny = 1")
    accounts.save(path, ACCOUNT, make_default=True)
    assert tomllib.loads(path.read_text())["y"] == 1


def test_a_toml_form_that_cannot_be_edited_is_refused_and_left_unchanged(path: Path) -> None:
    text = 'accounts = { "info@example.com" = { address = "a@x.se", host = "x", port = 1, security = "tls" } }\n'
    written(path, text)
    with pytest.raises(SmtpsetupError) as caught:
        accounts.save(path, ACCOUNT, make_default=False)
    assert caught.value.code == "config.invalid"
    assert path.read_text() == text


def test_a_symbolic_link_stays_one(path: Path, tmp_path: Path) -> None:
    target = written(tmp_path / "dotfiles.toml", "# mine\n")
    path.symlink_to(target)
    accounts.save(path, ACCOUNT, make_default=True)
    assert path.is_symlink()
    assert target.read_text().startswith("default")


def test_a_failed_write_leaves_the_file_unchanged_and_no_temporary_file(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(path, TEXT.replace("\r", ""))

    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("smtpsetup.state.files.os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        accounts.save(path, ACCOUNT, make_default=True)
    assert path.read_text() == TEXT.replace("\r", "")
    assert [file.name for file in path.parent.iterdir()] == ["config.toml"]


ROW = 'address = "a@x.se"\nhost = "x.se"\nport = 465\nsecurity = "tls"\n'


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[accounts.a\n", "line 1"),
        ("version = 2\n", "version"),
        ('version = "x"\n', "version"),
        ("default = 1\n", "default"),
        ("accounts = 1\n", "account"),
        ("accounts.a = 1\n", "account"),
        ("[accounts.a]\n" + ROW.replace("address", "adress"), "address"),
        ("[accounts.a]\n" + ROW.replace("465", '"465"'), "port"),
        ("[accounts.a]\n" + ROW.replace("465", "0"), "port"),
        ("[accounts.a]\n" + ROW.replace("465", "70000"), "port"),
        ("[accounts.a]\n" + ROW.replace("465", "true"), "port"),
        ("[accounts.a]\n" + ROW.replace('"tls"', '"ssl"'), "security"),
        ("[accounts.a]\n" + ROW + 'auth = "magic"\n', "auth"),
        ("[accounts.a]\n" + ROW + 'secret = "x"\n', "secret"),
        ("[accounts.a]\n" + ROW + 'secret = { store = "paper" }\n', "secret.store"),
        ("[accounts.a]\n" + ROW + 'secret = { store = "file" }\n', "secret.path"),
        ("[accounts.a]\n" + ROW + 'secret = { store = "file", path = 1 }\n', "secret.path"),
        ("[accounts.a]\n" + ROW + 'verified = "yes"\n', "verified"),
        ("[accounts.a]\n" + ROW + "[accounts.a]\n" + ROW, "line 6"),
        ("[accounts.a]\n" + ROW.replace("a@x.se", "a@@x.se"), "address"),
        ("[accounts.a]\n" + ROW.replace('"x.se"', '"smtp://x.se"'), "host"),
        ("[accounts.a]\n" + ROW + 'tls_fingerprint = "abc"\n', "tls_fingerprint"),
        ("[accounts.a]\n" + ROW.replace('"tls"', '"none"'), "security"),
    ],
)
def test_an_error_in_the_configuration_names_its_key_or_line(path: Path, text: str, named: str) -> None:
    written(path, text)
    with pytest.raises(SmtpsetupError) as caught:
        accounts.load(path)
    assert caught.value.code == "config.invalid"
    assert caught.value.exit_code == 78
    assert named in caught.value.message
    assert str(path) in caught.value.message
    with pytest.raises(SmtpsetupError):
        accounts.save(path, ACCOUNT, make_default=True)
    assert path.read_text() == text


def test_a_configuration_that_is_not_utf8_is_an_error(path: Path) -> None:
    path.write_bytes(b"\xff\xfe")
    path.chmod(0o600)
    with pytest.raises(SmtpsetupError):
        accounts.load(path)


@pytest.mark.parametrize("mode", [0o644, 0o660, 0o606, 0o620])
def test_a_file_open_to_others_is_refused(path: Path, mode: int) -> None:
    written(path, "", mode)
    with pytest.raises(SmtpsetupError) as caught:
        accounts.load(path)
    assert caught.value.code == "config.permissions"
    assert f"chmod 600 {path}" in caught.value.hints[0]


def test_without_a_configuration_file_there_are_no_accounts(path: Path) -> None:
    config = accounts.load(path)
    assert config.accounts == {}
    with pytest.raises(SmtpsetupError) as caught:
        config.account(None)
    assert caught.value.code == "config.no-account"


def test_the_only_account_needs_no_name_and_several_need_one(path: Path) -> None:
    accounts.save(path, ACCOUNT, make_default=False)
    assert accounts.load(path).account(None) == ACCOUNT
    accounts.save(path, account_at(465, name="b"), make_default=False)
    with pytest.raises(SmtpsetupError, match="No account was named"):
        accounts.load(path).account(None)
    accounts.set_default(path, "b")
    assert accounts.load(path).account(None).name == "b"
    with pytest.raises(SmtpsetupError, match="nobody"):
        accounts.load(path).account("nobody")
    accounts.save(path, account_at(465, name="c", address="c@example.com"), make_default=False)
    assert accounts.load(path).account("c@example.com").name == "c"
    with pytest.raises(SmtpsetupError):
        accounts.set_default(path, "nobody")


_KEYS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=12)
_VALUES = st.one_of(
    st.text(max_size=20), st.integers(-(2**31), 2**31), st.booleans(), st.lists(st.text(max_size=5), max_size=3)
)


@given(st.dictionaries(_KEYS, _VALUES, max_size=4), _KEYS)
def test_saving_and_removing_an_account_leaves_all_other_content_unchanged(other: dict[str, Any], name: str) -> None:
    import tomli_w

    text = tomli_w.dumps(
        {**{key: value for key, value in other.items() if key not in ("accounts", "default")}, "z": {"a": 1}},
        multiline_strings=True,
    )
    values = {"host": "x.se", "secret": {"store": "keyring"}}
    added = toml_edit.with_table(text, ("accounts", name), values, ("host", "secret"))
    assert added.startswith(text)
    assert tomllib.loads(added)["accounts"][name] == values
    assert tomllib.loads(toml_edit.without_table(added, ("accounts", name))) == tomllib.loads(text)


def test_a_server_is_written_for_people_with_brackets_around_ipv6() -> None:
    assert str(Server("::1", 25, Security.NONE)) == "[::1]:25"
