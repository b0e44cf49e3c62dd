"""The rules that keep the tests quick are checked (tools/suite.py)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import suite

if TYPE_CHECKING:
    from pathlib import Path

MARKED = "import pytest\n\n\n@pytest.mark.slow\ndef test_{}() -> None: ...\n"


@pytest.fixture
def tests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a folder that `make test` runs and one that it does not run."""
    for folder in ("unit", "faults"):
        (tmp_path / "tests" / folder).mkdir(parents=True)
    (tmp_path / "Makefile").write_text("QUICK := tests/unit\nOTHER := tests/faults\n")
    monkeypatch.setattr(suite, "ROOT", tmp_path)
    monkeypatch.setattr(suite, "TESTS", tmp_path / "tests")
    monkeypatch.setattr(suite, "RECORDED", tmp_path / "tests" / "seconds.toml")
    return tmp_path / "tests"


def test_one_name_on_two_floors_is_a_fault(tests: Path) -> None:
    (tests / "unit" / "test_a.py").write_text("def test_mail_is_kept() -> None: ...\n")
    assert suite.faults() == []
    (tests / "faults" / "test_b.py").write_text("class TestIt:\n    def test_mail_is_kept(self) -> None: ...\n")
    assert [fault.partition(" is in ")[0] for fault in suite.faults()] == ["test_mail_is_kept"]


def test_a_mark_without_an_effect_is_a_fault(tests: Path) -> None:
    (tests / "unit" / "test_a.py").write_text(MARKED.format("a"))
    assert suite.faults() == []
    (tests / "faults" / "test_b.py").write_text(MARKED.format("b"))
    assert [fault.partition(": ")[0] for fault in suite.faults()] == ["tests/faults/test_b.py:4"]


def test_a_folder_that_nothing_runs_is_a_fault(tests: Path) -> None:
    (tests / "new").mkdir()
    (tests / "new" / "test_c.py").write_text("")
    assert suite.faults() == ["tests/new is in no list of the Makefile"]


@pytest.mark.parametrize(("seconds", "code"), [(100, 0), (500, 1)])
def test_a_folder_that_takes_much_longer_than_recorded_fails_the_run(
    tests: Path, capsys: pytest.CaptureFixture[str], seconds: int, code: int
) -> None:
    def ran(seconds: int) -> str:
        path = tests / f"{seconds}.xml"
        path.write_text(f'<t><testcase classname="tests.unit.test_a.TestB" name="test_c[1]" time="{seconds}.0"/></t>')
        return str(path)

    suite.record([ran(100)])
    assert suite.report([ran(seconds)]) == code
    assert "tests/unit/test_a.py::test_c[1]" in capsys.readouterr().out
