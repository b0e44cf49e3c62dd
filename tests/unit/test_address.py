"""Addresses are parsed by RFC 5321 and RFC 6531; an error has the position of the fault."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpsetup.address.address import MalformedAddressError, parse_address


@pytest.mark.parametrize(
    ("text", "local", "domain"),
    [
        ("namn@live.se", "namn", "live.se"),
        ("  Namn@LIVE.Se ", "Namn", "live.se"),
        ("namn+faktura@gmail.com", "namn+faktura", "gmail.com"),
        ('"för namn"@example.com', '"för namn"', "example.com"),
        ('"a@b"@example.com', '"a@b"', "example.com"),
        ("o'brien!#$%&*/=?^_`{|}~-x@example.com", "o'brien!#$%&*/=?^_`{|}~-x", "example.com"),
        ("åsa@example.com", "åsa", "example.com"),
        ("root@localhost", "root", "localhost"),
        ("a@[192.0.2.1]", "a", "[192.0.2.1]"),
    ],
)
def test_an_address_is_split_at_its_at_sign(text: str, local: str, domain: str) -> None:
    address = parse_address(text)
    assert (address.local, address.domain) == (local, domain)


@pytest.mark.parametrize(
    ("domain", "wire", "shown"),
    [
        ("mindomän.se", "xn--mindomn-bxa.se", "mindomän.se"),
        ("MINDOMÄN.SE", "xn--mindomn-bxa.se", "mindomän.se"),
        ("xn--mindomn-bxa.se", "xn--mindomn-bxa.se", "mindomän.se"),
        ("straße.de", "xn--strae-oqa.de", "straße.de"),  # IDNA 2003 would send the mail to strasse.de, another owner
        ("\uff4c\uff49\uff56\uff45\uff0e\uff53\uff45", "live.se", "live.se"),  # full-width letters and dot
    ],
)
def test_an_international_domain_has_both_its_forms(domain: str, wire: str, shown: str) -> None:
    address = parse_address(f"namn@{domain}")
    assert (address.domain, address.unicode_domain) == (wire, shown)
    assert address.wire == f"namn@{wire}"
    assert str(address) == f"namn@{shown}"


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("", 0),
        ("   ", 0),
        ("namn", 4),
        ("@live.se", 0),
        ("namn@", 5),
        ("namn@@live.se", 5),
        ("namn@live.se@x", 12),
        ("na mn@live.se", 2),
        ("namn@li ve.se", 7),
        ("namn@live,se", 9),
        (".namn@live.se", 0),
        ("namn.@live.se", 4),
        ("na..mn@live.se", 2),
        ("namn@.live.se", 5),
        ("namn@live..se", 10),
        ("namn@live.se.", 13),
        ("namn@-live.se", 5),
        ("namn@live-.se", 5),
        ("namn@my_host.se", 7),
        ('"namn@live.se', 0),
        ('"namn"x@live.se', 6),
        ("na\tmn@live.se", 2),
        ("namn@live.se\r\nBcc: x@y.se", 12),
        ("namn@xn--a-ecp.ru", 5),
        ("a" * 65 + "@live.se", 0),
        ("namn@" + "a" * 64 + ".se", 5),
        ("namn@" + "a." * 127 + "se", 5),
        ("<namn@live.se>", 0),
    ],
)
def test_a_malformed_address_is_refused_where_the_fault_is(text: str, position: int) -> None:
    with pytest.raises(MalformedAddressError) as caught:
        parse_address(text)
    assert caught.value.position == position
    assert caught.value.code == "config.address-malformed"
    assert caught.value.exit_code == 65


@given(st.text(max_size=60))
def test_any_text_is_an_address_or_a_malformed_one(text: str) -> None:
    try:
        address = parse_address(text)
    except MalformedAddressError as error:
        fault = error
    else:
        assert "\n" not in address.wire
        assert address.domain.isascii()
        assert parse_address(address.wire).wire == address.wire
        return
    assert fault.text.isprintable()
    assert 0 <= fault.position <= len(fault.text)


@given(st.from_regex(r"[a-z0-9]([a-z0-9.-]{0,20}[a-z0-9])?@[a-z]{1,10}\.(se|com)", fullmatch=True))
def test_the_domain_is_case_insensitive(text: str) -> None:
    try:
        wanted = parse_address(text).domain
    except MalformedAddressError:
        return
    local, _at, domain = text.rpartition("@")
    assert parse_address(f"{local}@{domain.upper()}").domain == wanted


@pytest.mark.parametrize(
    ("text", "mailbox"), [("a+b@x.se", "a"), ("a@x.se", "a"), ("+a@x.se", "+a"), ('"a+b"@x.se', '"a+b"')]
)
def test_the_mailbox_of_a_subaddress_is_the_part_before_the_plus(text: str, mailbox: str) -> None:
    assert parse_address(text).mailbox == mailbox
