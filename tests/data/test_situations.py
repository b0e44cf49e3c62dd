"""Situations reported by users, replayed: each has its error code, its exit code and hints.

`situations.jsonl` has one in each line. `how` says how it is replayed: `reply` (a reply at a stage), `fault` and `act`
(what the server does), `command` (without a server), `test` (the test that replays it). `wordings.txt` has replies of
many servers with their error codes.
"""

from __future__ import annotations

import datetime
import json
import re
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from smtpsetup.core.failure import Failure, Kind, Reply
from smtpsetup.core.model import Secret, Security, Server, Stage
from smtpsetup.diagnosis.diagnose import diagnose, error_code
from smtpsetup.diagnosis.rehearsal import Act, Certificate, Fault
from smtpsetup.net.dial import Deadline
from smtpsetup.providers.table import Table
from smtpsetup.sandbox.fault_server import FaultServer
from smtpsetup.setup.test_account import run_test
from smtpsetup.smtp.wire import Wire
from tests.conftest import account_at, context_of
from tests.faults.test_rehearsals import rehearsed

if TYPE_CHECKING:
    from tests.conftest import Home

FILE = Path(__file__).with_name("situations.jsonl")
SITUATIONS: list[dict[str, Any]] = [json.loads(line) for line in FILE.read_text(encoding="utf-8").splitlines()]
TABLE = Table(datetime.date(2026, 11, 24))
REPOSITORY = Path(__file__).parents[2]


def those(how: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        "situation", [one for one in SITUATIONS if one["how"] == how], ids=lambda one: one["id"]
    )


def test_every_situation_is_listed() -> None:
    own = [one["id"] for one in SITUATIONS if not one["id"].startswith("policy-")]
    assert len(own) == len(set(own)) == 109
    assert {one["how"] for one in SITUATIONS} == {"reply", "fault", "act", "command", "test"}


def assert_helpful(error: Any, situation: dict[str, Any]) -> None:
    assert error
    assert (error.code, error.exit_code) == (situation["code"], situation["exit"])
    assert error.hints
    assert error.message
    for text in (error.message, *error.causes, *error.hints):
        assert not re.search(r"\{[a-z]+\}", text)


@those("reply")
def test_a_reply_has_its_error_code(situation: dict[str, Any], tmp_path: Path) -> None:
    stage = Stage(situation["stage"])
    fault = Fault(stage, reply=situation["reply"])
    security = Security.STARTTLS if stage is Stage.STARTTLS else Security.TLS
    provider = TABLE.by_id(situation["provider"]) if situation["provider"] else None
    with FaultServer(tmp_path, fault) as facts:
        port = facts.starttls_port if security is Security.STARTTLS else facts.tls_port
        report = run_test(
            context_of(account_at(port, security, ca_file=facts.ca_file, provider=situation["provider"])),
            Secret("lösen"),
            provider=provider,
        )
    assert_helpful(report.error, situation)
    assert report.error
    assert report.error.failure
    assert report.error.failure.reply
    assert report.error.failure.stage is stage


@pytest.mark.sampled
@those("fault")
def test_a_fault_has_its_error_code(
    situation: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, usual_ports: tuple[int, int]
) -> None:
    assert_helpful(rehearsed(situation["fault"], tmp_path, monkeypatch, usual_ports).error, situation)


@those("act")
def test_server_behaviour_has_its_error_code(situation: dict[str, Any], tmp_path: Path) -> None:
    certificates = {"unknown-authority": Certificate.UNKNOWN_AUTHORITY, "chain": Certificate.OWN_CHAIN}
    certificate = certificates.get(situation["act"], Certificate.GOOD)
    act = Act.BAD_CERTIFICATE if certificate is not Certificate.GOOD else Act(situation["act"])
    with FaultServer(tmp_path, Fault(Stage(situation["stage"]), act, certificate=certificate)) as facts:
        report = run_test(context_of(account_at(facts.tls_port, ca_file=facts.ca_file)), Secret("lösen"))
    if situation["code"] is None:
        assert report.error is None
        assert report.message_id
    else:
        assert_helpful(report.error, situation)


@pytest.mark.matrix
@those("command")
def test_a_command_has_its_error_code(situation: dict[str, Any], home: Home) -> None:
    if situation["id"] == "config-perm-open":
        home.file(".config/smtpsetup/config.toml", "", 0o644)
    if situation["id"] in ("rcpt-empty", "data-header-injection"):
        home.run("configure", "info@example.com", "--host", "localhost", "--auth", "none", "--no-verify")
    home.file("password", "\n")
    env = {"SMTPSETUP_NAMESERVER": "127.0.0.1:1"} if situation["id"] == "dns-temp" else {}
    run = home.run(*situation["arguments"], "--json", stdin=situation["stdin"], **env)
    assert run.code == situation["exit"], run.out + run.err
    assert run.json["error"]["code"] == situation["code"]


@those("test")
def test_the_test_that_replays_it_exists(situation: dict[str, Any]) -> None:
    file, _colons, name = situation["test"].partition("::")
    assert f"def {name}(" in (REPOSITORY / file).read_text(encoding="utf-8")


def test_every_refusal_of_a_row_matches_its_own_phrase() -> None:
    server = Server("smtp.example.com", 465, Security.TLS)
    for row in TABLE.all():
        for refusal in row.refusals:
            stage = Stage.AUTH if refusal.error.startswith("auth") else Stage.DATA
            reply = Reply(refusal.code, refusal.enhanced, (refusal.phrase or "no",))
            error = diagnose(Failure(stage, Kind.REPLY, server, reply), account_at(465), row)
            assert error.code == refusal.error, (row.id, refusal)
            assert error.causes, (row.id, refusal)
            assert {*(refusal.causes or (refusal.note,))} - {"", None} <= {*error.causes}, (row.id, refusal)


def parsed(reply: str) -> Reply:
    """The reply as it is read from a server."""
    number = int(reply[:3])
    raw = [(line[4:] if line.startswith(str(number)) else line).encode() for line in reply.split("\n")]
    with socket.socket() as unused:
        return Wire(unused, Deadline(1), None).as_reply(number, raw)


WORDINGS = [line.split("|", 3) for line in FILE.with_name("wordings.txt").read_text(encoding="utf-8").splitlines()[1:]]


def test_a_wording_has_its_error_code() -> None:
    server = Server("smtp.example.com", 587, Security.STARTTLS)
    wrong = []
    for stage, code, provider, reply in WORDINGS:
        failure = Failure(Stage(stage), Kind.REPLY, server, parsed(reply.replace("\\n", "\n")))
        found = error_code(failure, TABLE.by_id(provider) if provider else None)
        if found != code:
            wrong.append((stage, reply, code, found))
    assert wrong == []
