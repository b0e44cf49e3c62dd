"""Whether two host names belong to one owner, by the public suffix list."""

from __future__ import annotations

import pkgutil
import sys
from typing import TYPE_CHECKING

import pytest

from smtpsetup.discovery import suffixes
from smtpsetup.discovery.suffixes import SYSTEM_LIST, registrable, registrable_by, rules_in, same_owner

if TYPE_CHECKING:
    from pathlib import Path

LIST = "public_suffix_list.dat"


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


def test_without_the_library_a_list_has_the_same_meaning() -> None:
    library = pytest.importorskip("publicsuffixlist", reason="compared with publicsuffixlist, which is not installed")
    data = pkgutil.get_data("publicsuffixlist", LIST)
    assert data is not None
    theirs, rules = library.PublicSuffixList(data), rules_in(data.decode())
    assert len(rules) > 9000
    for rule in rules:
        suffix = rule.lstrip("!").replace("*", "w").encode("idna").decode()
        for domain in (suffix, f"a.{suffix}", f"c.b.a.{suffix}"):
            assert registrable_by(rules, domain) == theirs.privatesuffix(domain), domain


@pytest.mark.parametrize(
    ("domain", "expected"),
    [
        ("smtp.firma.co.uk", "firma.co.uk"),
        ("co.uk", None),
        ("a.b.c.kawasaki.jp", "b.c.kawasaki.jp"),
        ("www.city.kawasaki.jp", "city.kawasaki.jp"),
        ("firma.xn--55qx5d.cn", "firma.xn--55qx5d.cn"),
        ("xn--55qx5d.cn", None),
        ("x.xn--0.com", "xn--0.com"),  # not valid, but the DNS may have it
        ("a.b.no-such-domain", "b.no-such-domain"),
        ("no-such-domain", None),
    ],
)
def test_debians_list_is_understood(domain: str, expected: str | None) -> None:
    if not SYSTEM_LIST.exists():
        pytest.skip("needs Debian's package publicsuffix")
    assert registrable_by(rules_in(SYSTEM_LIST.read_text(encoding="utf-8")), domain) == expected


def test_a_list_that_was_cut_off_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short = tmp_path / "list"
    short.write_text("com\nse\nuk\n", encoding="utf-8")
    monkeypatch.setattr(suffixes, "SYSTEM_LIST", short)
    monkeypatch.setitem(sys.modules, "publicsuffixlist", None)
    with pytest.raises(ModuleNotFoundError):
        suffixes._registrable_by_list.__wrapped__()
