"""Parts of the relay on their own: whom a client's network lets in, and how long its certificate lasts."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

import pytest
from cryptography import x509

from smtpsetup.relay import certificate, exposure, running
from smtpsetup.relay.clients import Client

if TYPE_CHECKING:
    from pathlib import Path

ROUTES = (
    "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
    "eth0\t00000000\t010011AC\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
    "eth0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n"
)


@pytest.mark.parametrize(
    ("net", "is_exposed", "warns"),
    [("172.17.0.0/16", True, True), ("172.17.0.1/32", True, True), ("172.17.0.7/32", True, False),
     ("172.17.0.0/16", False, False)],
)  # fmt: skip
def test_a_network_that_has_a_gateway_is_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, net: str, *, is_exposed: bool, warns: bool
) -> None:
    routes = tmp_path / "route"
    routes.write_text(ROUTES)
    monkeypatch.setattr(exposure, "_ROUTES", str(routes))
    found = exposure.warnings({"a": Client("a", "", nets=(net,))}, is_exposed=is_exposed)
    assert any("172.17.0.1" in text for text in found) is warns


def test_the_certificate_lasts_ten_years_and_stays_the_same(tmp_path: Path) -> None:
    made = certificate.made_files(str(tmp_path), "192.0.2.9")
    content = (tmp_path / "relay-certificate.pem").read_bytes()
    parsed = x509.load_pem_x509_certificate(content)
    left = parsed.not_valid_after_utc - datetime.datetime.now(datetime.UTC)
    assert left > datetime.timedelta(days=3640)
    names = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert "localhost" in names.get_values_for_type(x509.DNSName)
    own = {running.own_address()} - {""}
    assert {"127.0.0.1", "192.0.2.9", *own} <= {str(one) for one in names.get_values_for_type(x509.IPAddress)}
    assert certificate.made_files(str(tmp_path), "other") == made
    assert (tmp_path / "relay-certificate.pem").read_bytes() == content
