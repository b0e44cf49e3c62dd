"""smtpsetup-sendmail chooses the account and the configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.sendmail import OWN, configured, sendmail, sent

if TYPE_CHECKING:
    from smtpsetup.sandbox.server import Sandbox, SandboxFacts
    from tests.conftest import Home

MESSAGE = "To: asa@example.com\nSubject: Hej\n\nText\n"


def two_accounts(home: Home, facts: SandboxFacts) -> None:
    second = (
        f'[accounts.bo]\naddress = "bo@example.com"\nhost = "localhost"\nport = {facts.tls_port}\nsecurity = '
        f'"tls"\nca_file = "{facts.ca_file}"\n'
    )
    configured(home, facts, rows=f'{second}secret = {{ store = "file", path = "{home.path / "password"}" }}')


@pytest.mark.parametrize(
    ("flags", "given", "wanted"),
    [
        ((), "", OWN),
        (("-a", "bo"), "", "bo@example.com"),
        (("-abo@example.com",), "", "bo@example.com"),
        (("-f", "bo@example.com"), "", "bo@example.com"),
        (("-f", "<bo@example.com>"), "", "bo@example.com"),
        ((), "From: Bo <BO@example.com>\n", "bo@example.com"),
        (("-a", OWN), "From: bo@example.com\n", OWN),
        (("-f", OWN), "From: bo@example.com\n", OWN),
        (("-f", "root"), "From: bo@example.com\n", "bo@example.com"),
    ],
)
def test_the_account_is_the_named_one_or_the_senders_or_the_default(  # noqa: PLR0913, PLR0917  a row of the table, and fixtures
    flags: tuple[str, ...], given: str, wanted: str, sandbox: Sandbox, facts: SandboxFacts, home: Home
) -> None:
    two_accounts(home, facts)
    assert sent(home, sandbox, "-t", *flags, stdin=given + MESSAGE).username == wanted


def test_an_unknown_account_is_a_configuration_error(facts: SandboxFacts, home: Home) -> None:
    configured(home, facts)
    assert sendmail(home, "-t", "-a", "nobody", stdin=MESSAGE).code == 78


def test_without_a_configuration_nothing_is_sent(home: Home) -> None:
    done = sendmail(home, "-t", stdin=MESSAGE)
    assert (done.code, done.out) == (78, "")
    assert "config.no-account" in done.err


def test_the_environment_selects_any_configuration_and_c_only_the_default_paths(
    sandbox: Sandbox, facts: SandboxFacts, home: Home
) -> None:
    configured(home, facts)
    elsewhere = home.config.rename(home.path / "elsewhere.toml")
    assert sendmail(home, "-t", stdin=MESSAGE).code == 78
    assert sendmail(home, "-t", "-C", str(elsewhere), stdin=MESSAGE).code == 78
    assert sendmail(home, "-t", stdin=MESSAGE, SMTPSETUP_CONFIG=str(elsewhere)).code == 0
    assert (
        sendmail(home, "-t", "-C", str(home.path / "none"), stdin=MESSAGE, SMTPSETUP_CONFIG=str(elsewhere)).code == 78
    )
    elsewhere.rename(home.config)
    assert sendmail(home, "-t", "-C", str(home.config), stdin=MESSAGE).code == 0
    assert len(sandbox.mails) == 2
