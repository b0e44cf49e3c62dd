"""Whether two host names belong to one owner, by the public suffix list."""

from __future__ import annotations

import pytest

from smtpsetup.discovery.suffixes import registrable, same_owner


@pytest.mark.parametrize(
    ("host", "domain", "is_same"),
    [
        ("mail.mittforetag.se", "mittforetag.se", True),
        ("mittforetag.se", "mittforetag.se", True),
        ("smtp.mittforetag.se", "post.mittforetag.se", True),
        ("smtp.ondmittforetag.se", "mittforetag.se", False),
        ("send.one.com", "mittforetag.se", False),
        ("smtp.annat.se", "mittforetag.se", False),
        ("smtp.co.uk", "co.uk", False),
        ("org.uk", "co.uk", False),
        ("a.firma.co.uk", "b.firma.co.uk", True),
        ("x.s3.amazonaws.com", "amazonaws.com", False),
        ("localhost", "localhost", False),
    ],
)
def test_host_names_with_one_registrable_domain_have_one_owner(host: str, domain: str, is_same: bool) -> None:  # noqa: FBT001  a parameter of the test
    assert same_owner(host, domain) is is_same


def test_a_public_suffix_is_not_registrable() -> None:
    assert registrable("co.uk") is None
    assert registrable("a.b.mittforetag.se") == "mittforetag.se"
