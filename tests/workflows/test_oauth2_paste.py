"""At a terminal the redirect address can be pasted, while the browser may still answer by itself."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pexpect
import pytest

from tests.person import ended, interrupt, saved
from tests.signing_in import has_nothing, sent, signing_up

if TYPE_CHECKING:
    from tests.conftest import Home
    from tests.oauth_servers import OAuthServer
    from tests.person import Person


def to_the_address(person: Person, home: Home, *options: str, **env: str) -> tuple[pexpect.spawn[str], str]:
    """`configure` at a terminal, up to the address that it shows."""
    terminal = person.types(*signing_up(home, "--browser", *options), **env)
    terminal.expect(r"(https://localhost:\S+)\r\n")
    assert isinstance(terminal.match, re.Match)
    address = str(terminal.match[1])
    terminal.expect(r"address of\s+that\s+page\s+here:")
    return terminal, address


def test_the_redirect_address_can_be_pasted(oauth: tuple[Home, OAuthServer], person: Person) -> None:
    home, server = oauth
    terminal, url = to_the_address(person, home)
    for _press in range(3):
        terminal.sendline("")
    terminal.sendline(f"  {server.sign_in(url)}  ")
    saved(terminal)
    assert sent(home).code == 0
    assert len(server.mails()) == 1


@pytest.mark.parametrize(
    "slip",
    [
        *("https://example.org/", "nonsense", "http://127.0.0.1:1/?code=c&state=other"),
        "http://[",
    ],
)
def test_after_a_wrong_address_the_right_one_can_be_pasted(
    oauth: tuple[Home, OAuthServer], person: Person, slip: str
) -> None:
    home, server = oauth
    terminal, url = to_the_address(person, home)
    terminal.sendline(slip)
    terminal.expect("That is not it")
    terminal.sendline(server.sign_in(url))
    saved(terminal)


@pytest.mark.parametrize("slip", ["https://example.org/?code=c", "nonsense", "http://127.0.0.1:1/?code=c&state=other"])
def test_a_wrong_address_saves_no_account(oauth: tuple[Home, OAuthServer], person: Person, slip: str) -> None:
    home, server = oauth
    terminal, _url = to_the_address(person, home)
    terminal.sendline(slip)
    terminal.expect("That is not it")
    terminal.close(force=True)
    assert server.count("authorization_code") == 0
    assert has_nothing(home)


def test_a_pasted_refusal_is_reported(oauth: tuple[Home, OAuthServer], person: Person) -> None:
    home, server = oauth
    terminal, url = to_the_address(person, home)
    terminal.sendline(server.sign_in(url, allow=False))
    assert "auth.sign-in-declined" in ended(terminal, 77)
    assert has_nothing(home)


def test_the_browser_may_answer_while_the_terminal_waits_for_a_paste(
    oauth: tuple[Home, OAuthServer], person: Person
) -> None:
    home, server = oauth
    terminal, url = to_the_address(person, home)
    assert server.browse(url).status == 200
    saved(terminal)
    assert sent(home).code == 0


def test_typed_input_is_discarded_when_the_browser_answers(oauth: tuple[Home, OAuthServer], person: Person) -> None:
    home, server = oauth
    terminal, url = to_the_address(person, home)
    terminal.send("http://127.0.0.1")
    assert server.browse(url).status == 200
    terminal.expect("Will scripts.*: ")
    terminal.sendline("n")
    assert terminal.expect(["y for yes or n for no", pexpect.EOF]) == 1


def test_after_the_end_of_input_the_browser_can_still_answer(oauth: tuple[Home, OAuthServer], person: Person) -> None:
    home, server = oauth
    terminal, url = to_the_address(person, home)
    terminal.sendeof()
    assert server.browse(url).status == 200
    saved(terminal)


def test_ctrl_c_at_the_prompt_exits_with_130_and_saves_nothing(oauth: tuple[Home, OAuthServer], person: Person) -> None:
    home, _server = oauth
    terminal, _url = to_the_address(person, home)
    interrupt(terminal)
    ended(terminal, 130)
    assert has_nothing(home)


def test_the_browser_program_gets_the_address_unchanged(oauth: tuple[Home, OAuthServer], person: Person) -> None:
    home, server = oauth
    program = home.file(
        "bin/browser",
        '#!/bin/sh\nprintf "%s" "$1" > "$HOME/opened.part" && mv "$HOME/opened.part" "$HOME/opened"\n',
        0o700,
    )
    terminal, url = to_the_address(person, home, BROWSER=str(program))
    assert server.browse(url).status == 200
    saved(terminal)
    assert (home.path / "opened").read_text() == url
