"""What is said by default fits in what a person skims: `identify` in twelve lines, an error in a few."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from smtpsetup.address.address import parse_address
from smtpsetup.config.known_providers import table_of_today
from smtpsetup.core import i18n
from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.failure import Failure, Kind, Reply
from smtpsetup.core.model import Security, Server, Stage
from smtpsetup.diagnosis.diagnose import diagnose
from smtpsetup.render import errors, human, identification
from smtpsetup.setup.identify import from_row
from tests.conftest import PASSWORD, account_at

if TYPE_CHECKING:
    from collections.abc import Iterator

    from smtpsetup.sandbox.server import SandboxFacts
    from tests.conftest import Home

_COLUMNS = 80


@pytest.fixture(params=["en", "sv"], autouse=True)
def _language(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def forget() -> None:
        for cached in (i18n.language, i18n._catalogue):
            cached.cache_clear()

    monkeypatch.setenv("SMTPSETUP_LANG", request.param)
    forget()
    yield
    monkeypatch.undo()
    forget()


@pytest.mark.matrix
def test_identify_has_at_most_twelve_lines_for_every_provider() -> None:
    table = table_of_today()
    for row in table.all():
        domain = (row.domains or ("mittforetag.se",))[0].replace("*", "example")
        found = from_row(parse_address(f"namn@{domain}"), row)
        out = Console(width=_COLUMNS, file=io.StringIO())
        lines = out.render_lines(identification.in_twelve_lines(found), pad=False)
        assert len(lines) <= 12, row.id


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> _Terminal:
    """A terminal of 80 columns in place of standard error."""
    shown = _Terminal()

    def console(*, stderr: bool = False) -> Console:
        return Console(
            file=shown, width=_COLUMNS, force_terminal=True, color_system=None, markup=False, highlight=False
        )

    for module in (human, errors):
        monkeypatch.setattr(module, "console", console)
    monkeypatch.setattr("sys.stderr", shown)
    return shown


def replies() -> Iterator[tuple[Stage, Reply]]:
    """Replies as servers have sent them."""
    for line in Path(__file__).parents[1].joinpath("data", "replies.jsonl").read_text(encoding="utf-8").splitlines():
        seen = json.loads(line)
        match = re.match(r"(\d{3})[ -](\d\.\d{1,3}\.\d{1,3})? ?(.*)", seen["reply"])
        if match and seen["stage"] in set(map(str, Stage)):
            yield Stage(seen["stage"]), Reply(int(match[1]), match[2] or "", (match[3],))


def test_an_error_has_one_sentence_one_step_and_a_pointer(terminal: _Terminal) -> None:
    account = account_at(465, Security.TLS)._replace(server=Server("send.one.com", 465, Security.TLS))
    counts = []
    for stage, reply in replies():
        failure = Failure(stage, Kind.REPLY, account.server, reply=reply)
        terminal.seek(0)
        terminal.truncate()
        errors.error(diagnose(failure, account, recipient="kund@example.com"))
        lines = terminal.getvalue().splitlines()
        assert all(len(line) <= _COLUMNS or "`" in line for line in lines), lines
        counts.append(len(lines))
    assert len(counts) > 300
    assert sorted(counts)[len(counts) // 2] <= 5  # with the lines that a narrow terminal adds
    assert max(counts) <= 12  # a reply that nothing interprets is not cut


def test_with_verbose_an_error_has_everything(terminal: _Terminal) -> None:
    failure = Failure(Stage.AUTH, Kind.REPLY, Server("send.one.com", 465, Security.TLS))
    error = SmtpsetupError(
        "auth.bad-credentials", "No.", causes=("one", "two"), hints=("first", "second"), failure=failure, known_cause=""
    )
    errors.error(error)
    brief = terminal.getvalue()
    assert ("first" in brief, "second" in brief, "one" in brief) == (True, False, False)
    assert "`smtpsetup explain auth.bad-credentials`" in brief
    errors.error(error, verbose=True)
    assert all(word in terminal.getvalue() for word in ("one", "two", "first", "second"))


def test_what_explain_cannot_know_is_shown(terminal: _Terminal) -> None:
    errors.error(SmtpsetupError("config.invalid", "Faults.", causes=("line 1", "line 2"), hints=("first", "second")))
    shown = terminal.getvalue()
    assert ("line 1" in shown, "line 2" in shown, "second" in shown) == (True, True, False)
    assert "the same command with" in shown or "samma kommando med" in shown


def test_a_page_that_the_server_names_is_never_cut(terminal: _Terminal) -> None:
    account = account_at(465, Security.TLS)
    reply = Reply(550, "5.1.1", ("No such user. " * 20 + "See https://help.example.net/x?t=8f2c.",))
    errors.error(diagnose(Failure(Stage.RCPT, Kind.REPLY, account.server, reply=reply), account))
    assert "https://help.example.net/x?t=8f2c" in terminal.getvalue().replace("\n  ", "")


def test_a_test_that_works_is_one_line_and_verbose_has_the_table(home: Home, facts: SandboxFacts) -> None:
    assert home.configure(facts, password=PASSWORD).code == 0
    brief = home.run("test").out
    assert brief.startswith("✓ ")
    assert brief.count("\n") == 1
    assert home.run("test", "-v").out.count("\n") > 10
    (home.path / "password").write_text("fel\n", encoding="utf-8")
    assert " ms" in home.run("test").out
