"""Hostile or broken settings files, records and names are refused with a reason, and shown escaped and bounded."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.discovery.attacks import BAD_CERTIFICATES, UNUSABLE
from tests.discovery.conftest import sources

if TYPE_CHECKING:
    from tests.conftest import Home
    from tests.discovery.conftest import World
    from tests.discovery.plan import Domain


@pytest.mark.matrix
@pytest.mark.parametrize(("domain", "reason"), UNUSABLE, ids=[domain.name for domain, _reason in UNUSABLE])
def test_an_unusable_settings_file_is_refused_with_its_reason(domain: Domain, reason: str, inside: Home) -> None:
    run = inside.run("identify", f"info@{domain.name}", "--all", "--json")
    assert run.code == 68
    assert run.json["error"]["code"] == "config.no-settings-found"
    (report,) = [
        one for one in sources(run.json["result"], "autoconfig") if one["origin"].startswith("https://autoconfig.")
    ]
    assert report["outcome"] == "refused"
    assert reason in report["detail"]
    assert any(reason in cause for cause in run.json["error"]["causes"])


@pytest.mark.parametrize("domain", BAD_CERTIFICATES, ids=lambda domain: domain.name)
def test_a_web_server_with_a_bad_certificate_is_reported_and_not_used(domain: Domain, inside: Home) -> None:
    run = inside.run("identify", f"info@{domain.name}", "--all", "--json")
    result = run.json["result"]
    assert result["source"] == "srv"
    failures = [one for one in sources(result, "autoconfig") if one["outcome"] == "failed"]
    assert ["certificate" in one["detail"] for one in failures] == [True]


def test_the_content_type_of_a_settings_file_does_not_matter(inside: Home) -> None:
    assert inside.run("identify", "info@typlos.se", "--json").json["result"]["source"] == "autoconfig"


def test_a_pacc_document_with_another_digest_is_refused(inside: Home) -> None:
    result = inside.run("identify", "info@pacc-fel.se", "--all", "--json").json["result"]
    assert result["provider"]["id"] == "loopia"
    assert [one["outcome"] for one in sources(result, "pacc")] == ["refused"]


def test_a_pacc_document_is_not_fetched_from_another_owner(inside: Home) -> None:
    result = inside.run("identify", "info@pacc-omledd.se", "--all", "--json").json["result"]
    assert result["provider"]["id"] == "loopia"
    assert [one["outcome"] for one in sources(result, "pacc")] == ["refused"]


def test_a_pacc_document_without_a_usable_login_is_refused(inside: Home) -> None:
    run = inside.run("identify", "info@pacc-utan.se", "--all", "--json")
    assert [one["outcome"] for one in sources(run.json["result"], "pacc")] == ["refused"]


def test_an_overlong_login_name_is_refused(inside: Home) -> None:
    assert inside.run("identify", "info@langt-namn.se").code == 68


def test_srv_records_that_cannot_be_used_are_refused_with_the_reason(inside: Home) -> None:
    run = inside.run("identify", "info@srv-fel.se", "--all", "--json")
    assert run.code == 68
    (report,) = sources(run.json["result"], "srv")
    assert "no port" in report["detail"]
    assert "port 25" in report["detail"]


def test_invalid_host_names_in_dns_are_skipped(inside: Home) -> None:
    run = inside.run("identify", "info@konstiga-namn.se", "--all")
    assert "Loopia" in run.out
    assert "\x07" not in run.out


@pytest.mark.parametrize(
    ("address", "provider"),
    [
        ("info@straße.de", "one-com"),
        ("info@strasse.de", "loopia"),
        ("info@ex\u0430mple.com", "google-workspace"),
        ("info@\uff56\uff45\uff52\uff4b\uff53\uff54\uff41\uff4e.se", "google-workspace"),
    ],
)
def test_an_international_domain_is_looked_up_by_its_own_a_label(address: str, provider: str, inside: Home) -> None:
    assert inside.run("identify", address, "--json").json["result"]["provider"]["id"] == provider


def test_a_look_alike_domain_is_shown_as_its_a_label(inside: Home) -> None:
    assert "xn--exmple-4nf.com" in inside.run("identify", "info@ex\u0430mple.com").out


@pytest.mark.matrix
@pytest.mark.parametrize(
    "domain",
    ["fragment.se", "ankare.se", "pacc-escape.se", "escape.se", "langt-fel.se", "manga-fel.se", "konstiga-namn.se"],
)
@pytest.mark.parametrize("option", ["--all", "--json", "--no-input"])
def test_what_servers_send_is_shown_escaped_and_bounded(domain: str, option: str, inside: Home) -> None:
    run = inside.run("identify", f"info@{domain}", option)
    shown = run.out + run.err
    assert all(char.isprintable() or char == "\n" for char in shown)
    assert "ett-ankare" not in shown
    assert len(shown) < 12_000


def test_a_null_mx_beside_another_mx_is_ignored(inside: Home) -> None:
    assert inside.run("identify", "info@nastan-null.se", "--json").json["result"]["provider"]["id"] == "loopia"


def test_a_null_mx_is_reported_and_no_server_is_probed(world: World, inside: Home) -> None:
    before = len(world.log())
    assert "null MX" in inside.run("identify", "info@nullmx-med-server.se").err
    assert not [line for line in world.log()[before:] if line.startswith("smtp")]


def test_an_mx_host_with_an_underscore_leads_to_its_owner(inside: Home) -> None:
    assert (
        inside.run("identify", "info@understreck.se", "--json").json["result"]["servers"][0]["host"]
        == "smtp.lillahotellet.net"
    )


def test_an_mx_that_is_an_ip_address_or_localhost_is_not_probed(world: World, inside: Home) -> None:
    before = len(world.log())
    assert inside.run("identify", "info@mx-ip.se", "--all").code == 68
    assert not [line for line in world.log()[before:] if line.startswith("smtp")]


def test_a_flood_of_mx_records_is_cut_short(inside: Home) -> None:
    started = time.monotonic()
    assert inside.run("identify", "info@manga-mx.se").code == 68
    assert time.monotonic() - started < 5
