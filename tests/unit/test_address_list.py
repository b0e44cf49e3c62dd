"""Lists of addresses as programs and people write them."""

from __future__ import annotations

import pytest

from smtpsetup.address.address_list import entries, understood
from smtpsetup.core.errors import SmtpsetupError

A, B = "a@b.example", "d@e.example"


@pytest.mark.parametrize(
    ("text", "addresses"),
    [
        ("", []),
        ("(nobody)", []),
        ("g: ;", []),
        ("<>", []),
        ("root", ["root"]),
        (f"x<{A}>", [A]),
        (f"{A}(x)", [A]),
        (f"(x){A}", [A]),
        ("a(x)@b.example", [A]),
        ("a@(x)b.example", [A]),
        ("a@b(x).example", [A]),
        ("a@b.(x)example", [A]),
        (f"{A}(x),{B}(y)", [A, B]),
        (f"{A} {B}", [A, B]),
        (f"{A}(x) {B}(y)", [A, B]),
        (f"g h: {A}, {B};", [A, B]),
        (f"g:{A}(x),{B}(y);", [A, B]),
        (f"g:{A} {B};", [A, B]),
        (f"g (some people) :P <{A}>, root; (the end)", [A, "root"]),
        (f"f<@g.example:{A}>", [A]),
        (f"f<@g.example,@i.example:{A}>", [A]),
        (rf"(f\)\(){A}", [A]),
        (f"(f(g)h){A}", [A]),
        ('"a"@b.example', [A]),
        ('a."b".c@d.example', ["a.b.c@d.example"]),
        (r'"s\'b"@d.example', ["s'b@d.example"]),
        (r'"s\"b"@d.example', [r'"s\"b"@d.example']),
        (f"Mr. T <{A}>", [A]),
        (f'"A; \\"Quoted\\" Name" <{A}>', [A]),
        (f'"A Person: Personal Account" <{A}>', [A]),
        (r"Some(wonderful \) chap) <to(his account)@localhost(this host)>", ["to@localhost"]),
        ("Person <root@localhost> (a friend); (the end of the group)", ["root@localhost"]),
        ("a@b.example.", [A]),
        (f"=?utf-8?B?VGVzdCDDnHNlcg==?= <{A}>, Some\tOne <{B}>".replace("\t", " "), [A, B]),
    ],
)
def test_comments_groups_routes_and_quotes_are_read(text: str, addresses: list[str]) -> None:
    assert [entry.address for entry in entries(text)] == addresses


@pytest.mark.parametrize("wrong", ["Åsa <a@x", "b c", '"a@x', "<a@x> b", "(x"])
def test_an_entry_that_cannot_be_understood_does_not_hide_the_others(wrong: str) -> None:
    found, faults = understood(f"{A}, {wrong}")
    assert [entry.address for entry in found if entry] == [A]
    assert list(faults) == [wrong]
    with pytest.raises(SmtpsetupError):
        entries(f"{A}, {wrong}")


@pytest.mark.parametrize("text", ["", f"{A},", f"{A},,{B}", f"{A} {B}", ","])
def test_empty_entries_and_missing_commas_are_refused_where_people_type(text: str) -> None:
    with pytest.raises(SmtpsetupError):
        entries(text, may_be_empty=False)
