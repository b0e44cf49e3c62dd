"""Discovery uses TLS alone, sends the address only where it is required, and leaves out a source that is turned off."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.discovery.conftest import configured, sources

if TYPE_CHECKING:
    from tests.conftest import Home
    from tests.discovery.conftest import World


def test_no_settings_are_requested_without_tls(world: World, inside: Home) -> None:
    inside.run("identify", "info@nedgraderad.se")
    inside.run("identify", "info@egenserver.se")
    assert not [line for line in world.log() if line.startswith("http ")]


@pytest.mark.parametrize("address", ["info@co.uk", "info@suffix-mx.se"])
def test_no_host_below_a_public_suffix_is_queried(address: str, world: World, inside: Home) -> None:
    run = inside.run("identify", address, "--json")
    assert run.code == 68
    assert not [line for line in world.log() if "autoconfig.co.uk" in line]


def test_the_address_is_sent_quoted_to_a_server_that_requires_it(world: World, inside: Home) -> None:
    assert inside.run("identify", "a&b#c@envis-med-tecken.se", "--json").json["result"]["source"] == "autoconfig"
    asked = [line for line in world.log() if "emailaddress" in line and "envis-med" in line]
    assert asked == [
        "https autoconfig.envis-med-tecken.se/mail/config-v1.1.xml?emailaddress=a%26b%23c%40envis-med-tecken.se"
    ]


@pytest.mark.sampled
@pytest.mark.parametrize("domain", ["envist-kund.se", "tom.se", "gissad.se", "delnamn.se"])
def test_the_address_is_not_sent_to_servers_that_do_not_require_it(domain: str, world: World, inside: Home) -> None:
    before = len(world.log())
    inside.run("identify", f"info@{domain}", "--all")
    assert not [line for line in world.log()[before:] if "emailaddress" in line]


def test_a_sub_address_is_left_out_of_the_login_name(inside: Home) -> None:
    assert inside.run("identify", "info+faktura@delnamn.se", "--json").json["result"]["username"] == "info"


@pytest.mark.slow
def test_discovery_never_logs_in_or_names_the_person(world: World, inside: Home) -> None:
    before = len(world.log())
    for domain in ("gissad.se", "oense.se", "ingen-inloggning.se", "smahotell.se", "bakom-proofpoint.com"):
        inside.run("identify", f"hemlig.person@{domain}", "--all")
    said = world.log()[before:]
    assert not [line for line in said if line.startswith("smtp") and ("AUTH" in line or "MAIL" in line)]
    assert not [line for line in said if "hemlig" in line]
    assert any(line.endswith("QUIT") for line in said)


def test_ispdb_is_not_queried_when_turned_off(world: World, inside: Home) -> None:
    run = inside.run("identify", "info@databasen.se", "--no-ispdb", "--all", "--json")
    assert not sources(run.json["result"], "ispdb")
    before = len(world.log())
    inside.file(".config/smtpsetup/config.toml", "ispdb = false\n")
    inside.run("identify", "info@databasen.se")
    assert not [line for line in world.log()[before:] if "thunderbird" in line]


def test_configure_does_not_query_ispdb_when_turned_off(world: World, inside: Home) -> None:
    before = len(world.log())
    configured(inside, "databasen.se", "--no-ispdb")
    assert not [line for line in world.log()[before:] if "thunderbird" in line]


def test_ispdb_is_not_queried_when_the_configuration_is_unreadable(world: World, inside: Home) -> None:
    before = len(world.log())
    inside.file(".config/smtpsetup/config.toml", "", 0o644)
    run = inside.run("identify", "info@mittforetag.se")
    assert run.code == 0
    assert "was not asked" in run.err
    assert not [line for line in world.log()[before:] if "thunderbird" in line]


def test_the_fallback_ispdb_host_is_not_queried_when_the_first_answers(world: World, inside: Home) -> None:
    before = len(world.log())
    inside.run("identify", "info@tom.se", "--all")
    assert not [line for line in world.log()[before:] if "v1.ispdb.net" in line]
