"""The committed corpus of the fuzzer, through every target, without the fuzzer."""

from __future__ import annotations

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
