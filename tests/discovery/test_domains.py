"""Every domain of the small internet gets the answer that is right for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.discovery import variants
from tests.discovery.domains import DOMAINS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Home
    from tests.discovery.plan import Domain

_MORE: dict[str, Callable[[dict[str, Any]], object]] = {
    "confidence": lambda result: result["confidence"],
    "username": lambda result: result["username"],
    "auth": lambda result: result["auth"],
    "security": lambda result: result["servers"][0]["security"],
}


@pytest.mark.sampled
@pytest.mark.parametrize("domain", [*DOMAINS, *variants.DOMAINS], ids=lambda domain: domain.name[:40])
def test_a_domain_gets_the_answer_that_is_right_for_it(domain: Domain, inside: Home) -> None:
    answer: dict[str, Any] = domain.answer
    run = inside.run("identify", answer.get("address", f"info@{domain.name}"), "--json")
    assert run.code == answer["exit"], run.out + run.err
    if "code" in answer:
        assert run.json["error"]["code"] == answer["code"]
        if "named" in answer:
            assert ((run.json.get("result") or {}).get("provider") or {}).get("id") == answer["named"]
            assert answer.get("said", "") in run.json["error"]["message"]
        return
    result = run.json["result"]
    server = result["servers"][0]
    assert result["source"] == answer["source"]
    assert f"{server['host']}:{server['port']}" == answer["server"]
    assert (result["provider"] or {}).get("id") == answer["provider"]
    assert result["needs_confirmation"] == answer["confirm"]
    for key, read in _MORE.items():
        if key in answer:
            assert read(result) == answer[key]
    notes = " ".join(result["notes"])
    assert answer.get("remark", "") in notes
    assert "no_remark" not in answer or answer["no_remark"] not in notes
