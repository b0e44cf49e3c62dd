"""A host that nothing but DNS binds to the domain needs the person's confirmation before it gets a password."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.discovery.conftest import configured

if TYPE_CHECKING:
    from tests.conftest import Home
    from tests.discovery.conftest import World


def test_a_redirect_to_another_owner_needs_confirmation(inside: Home) -> None:
    result = inside.run("identify", "info@frammande.se", "--all", "--json").json["result"]
    assert result["servers"][0]["host"] == "smtp.ond.test"
    assert result["needs_confirmation"] is True
    assert result["candidates"][0]["trust"] == "dns"


def test_a_redirect_that_returns_through_another_owner_is_trusted_as_dns(inside: Home) -> None:
    result = inside.run("identify", "info@rundtur.se", "--all", "--json").json["result"]
    assert result["candidates"][0]["trust"] == "dns"


@pytest.mark.parametrize("domain", ["ond-mx.se", "ond-srv.se"])
def test_a_host_known_from_dns_alone_needs_confirmation(domain: str, inside: Home) -> None:
    result = inside.run("identify", f"info@{domain}", "--json").json["result"]
    assert result["servers"][0]["host"].endswith(".test")
    assert result["needs_confirmation"] is True


def test_a_host_below_another_public_suffix_needs_confirmation(inside: Home) -> None:
    assert inside.run("identify", "info@wiardweb.com", "--json").json["result"]["needs_confirmation"] is True


def test_a_file_with_a_foreign_host_beside_a_providers_names_no_provider(inside: Home) -> None:
    result = inside.run("identify", "info@blandat.se", "--json").json["result"]
    assert result["provider"] is None


def test_no_password_goes_to_an_unconfirmed_host(world: World, inside: Home) -> None:
    before = len(world.log())
    run = configured(inside, "srv-utanfor.se")
    assert run.code == 78
    assert "--accept-host smtp.hotellet.net" in " ".join(run.json["error"]["hints"])
    assert not [line for line in world.log()[before:] if line.startswith("smtp")]


@pytest.mark.parametrize("accepted", ["smtp.annanstans.net", "hotellet.net"])
def test_accept_host_confirms_that_one_host_alone(accepted: str, world: World, inside: Home) -> None:
    before = len(world.log())
    run = configured(inside, "srv-utanfor.se", "--accept-host", accepted)
    assert run.code == 78
    assert not [line for line in world.log()[before:] if line.startswith("smtp")]


# of the second domain it is the second server
@pytest.mark.parametrize("domain", ["srv-utanfor.se", "tva-varder.se"])
def test_a_confirmed_host_is_used(inside: Home, domain: str) -> None:
    run = configured(inside, domain, "--accept-host", "smtp.hotellet.net")
    assert run.code == 0, run.err
    assert run.json["result"]["host"] == "smtp.hotellet.net"


def test_a_host_of_the_domain_itself_needs_no_confirmation(inside: Home) -> None:
    run = configured(inside, "bra-egen.se")
    assert run.code == 0, run.err
    assert (run.json["result"]["host"], run.json["result"]["provider"]) == ("smtp.bra-egen.se", None)


def test_after_a_refused_login_no_second_host_gets_the_password(world: World, inside: Home) -> None:
    before = len(world.log())
    run = configured(inside, "avvisad.se")
    assert run.code == 77
    assert len([line for line in world.log()[before:] if " AUTH " in line]) == 1
