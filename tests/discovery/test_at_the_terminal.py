"""Discovery at a terminal: what is shown during the search, and what is asked before the password."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.person import Person, ended, interrupt, saved

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Home
    from tests.discovery.conftest import World
    from tests.servers import Keyring


@pytest.fixture
def someone(inside: Home, keyring: Keyring) -> Iterator[Person]:
    """A person in the small internet."""
    sitting = Person(inside, keyring)
    yield sitting
    sitting.leave()


def test_the_search_shows_its_progress_and_restores_the_cursor(someone: Person) -> None:
    terminal = someone.types("identify", "info@gissad.se")
    terminal.expect("Looking for the server of gissad.se")
    shown = ended(terminal, 0)
    assert "smtp.gissad.se:465" in shown
    assert shown.rindex("\x1b[?25h") > shown.rindex("Looking for") if "Looking for" in shown else "\x1b[?25h" in shown


def test_ctrl_c_ends_a_search_at_once(someone: Person) -> None:
    terminal = someone.types("identify", "info@droppande.se")
    terminal.expect("Looking for the server")
    interrupt(terminal)
    shown = ended(terminal, 130)
    assert "Interrupted" in shown
    assert "\x1b[?25h" in shown


@pytest.mark.slow
@pytest.mark.parametrize(("answer", "code"), [("n", 130), ("", 130)])
def test_a_no_or_no_answer_sends_no_password(answer: str, code: int, someone: Person, world: World) -> None:
    before = len(world.log())
    terminal = someone.types("configure", "info@srv-utanfor.se")
    terminal.expect("The DNS of srv-utanfor.se names this server")
    terminal.expect(r"Send your password to smtp.hotellet.net\? \[y/N\]")
    terminal.sendline(answer)
    ended(terminal, code)
    assert not [line for line in world.log()[before:] if line.startswith("smtp")]
    assert not someone.home.config.exists()


def test_a_yes_leads_to_the_password_and_a_saved_account(someone: Person) -> None:
    terminal = someone.types("configure", "info@srv-utanfor.se", SMTPSETUP_LANG="sv")
    terminal.expect(r"Vill du skicka ditt lösenord till smtp.hotellet.net\? \[j/N\]")
    terminal.sendline("ja")
    terminal.expect("Avsändarnamn .*: ")
    terminal.sendline("")
    terminal.expect("Lösenord för info@srv-utanfor.se")
    terminal.waitnoecho()
    terminal.sendline("hemligt")
    shown = saved(terminal)
    assert "smtp.hotellet.net:465" in shown


def test_accept_host_answers_the_question_beforehand(someone: Person) -> None:
    terminal = someone.types(
        "configure", "info@srv-utanfor.se", "--accept-host", "smtp.hotellet.net", "--from-name", ""
    )
    terminal.expect("Password for info@srv-utanfor.se")
    interrupt(terminal)
    ended(terminal, 130)


def test_a_domain_that_does_not_exist_ends_before_anything_is_asked(someone: Person) -> None:
    assert "There is no domain finns-inte.se" in ended(someone.types("configure", "info@finns-inte.se"), 68)
