"""The committed corpus of the fuzzer, through every target, without the fuzzer."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import pytest

from tests.fuzz import corpus, targets

if TYPE_CHECKING:
    from pathlib import Path

INPUTS = [(name, path) for name in targets.TARGETS for path in corpus.inputs(name)]


@pytest.mark.parametrize(("name", "path"), INPUTS, ids=[f"{name}/{path.name}" for name, path in INPUTS])
def test_no_input_of_the_corpus_breaks_a_rule(name: str, path: Path) -> None:
    targets.run(name, path.read_bytes())


def test_every_target_has_a_corpus_and_every_corpus_a_target() -> None:
    assert sorted(path.name for path in corpus.COMMITTED.iterdir()) == sorted(targets.TARGETS)
    for name in targets.TARGETS:
        paths = corpus.inputs(name)
        assert 10 <= len(paths) <= 40, name
        assert sum(path.stat().st_size for path in paths) <= 100_000, name


def test_what_is_kept_executes_new_code_and_is_as_small_as_what_was_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for directory in (committed := tmp_path / "corpus" / "html-text", found := tmp_path / "found" / "html-text"):
        directory.mkdir(parents=True)
    monkeypatch.setattr(corpus, "COMMITTED", tmp_path / "corpus")
    monkeypatch.setattr(corpus, "FOUND", tmp_path / "found")
    (committed / "words").write_bytes(b"words")
    for name, data in {"a": b"other words", "b": b"<p>long paragraph</p>", "c": b"<p>x</p>", "d": b"<p>y</p>"}.items():
        (found / name).write_bytes(data)
    assert corpus.keep("html-text") == 1
    assert [path.read_bytes() for path in corpus.inputs("html-text")] == [b"<p>x</p>", b"words"]
    assert corpus.keep("html-text") == 0


def test_a_slow_input_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "SECONDS", 0.0)
    with pytest.raises(AssertionError, match=r"2 bytes took"):
        targets.run("html-text", b"<p")


def test_quadratic_time_of_a_small_input_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def quadratic(data: bytes) -> None:
        for start in range(len(data)):
            data[start:].count(b"z")

    monkeypatch.setitem(targets.TARGETS, "html-text", quadratic)
    monkeypatch.setattr(targets, "SECONDS", 0.008)
    data = next(data for data in map(b"%04d".__mod__, range(1000)) if zlib.crc32(data) % 32 == 0)
    with pytest.raises(AssertionError, match="10000 bytes took"):
        targets.run("html-text", data)
