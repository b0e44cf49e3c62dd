"""`smtpsetup outbox` with a shared outbox, as people and scripts meet it."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from smtpsetup.outbox.sqlite.store import SqliteOutbox
from tests.recording import RecordingServer, plain_account
from tests.sendmail import sendmail
from tests.servers import free_port, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from smtpsetup.config.outbox_settings import OutboxSettings
    from tests.conftest import Home
    from tests.postgresql import Cluster

pytestmark = pytest.mark.slow  # with a PostgreSQL of its own


@pytest.fixture
def server() -> Iterator[RecordingServer]:
    with RecordingServer() as server:
        yield server


def at_top(home: Home, *lines: str) -> None:
    """Add lines at the top of the configuration."""
    home.config.write_text("".join(f"{line}\n" for line in lines) + home.config.read_text())


@pytest.fixture
def machine(home: Home, server: RecordingServer, shared: OutboxSettings) -> Home:
    """A machine with an account and a shared outbox."""
    plain_account(home, server.port)
    at_top(home, f'outbox = "{shared.url}"')
    return home


def local_mails(home: Home) -> list[str]:
    """The recipients of the mail that is kept on this machine."""
    with SqliteOutbox(str(home.path / ".local/state/smtpsetup")) as box:
        return [mail.recipients[0] for mail in box.mails()]


def queue(home: Home, *names: str) -> None:
    """Put a mail to each into the outbox."""
    for name in names:
        run = home.run("send", f"{name}@example.com", "--body", "x", "--subject", name, "--queue", "always")
        assert run.code == 0, run.err


def test_every_command_of_the_outbox_works_with_a_shared_one(machine: Home, server: RecordingServer) -> None:
    queue(machine, "anna", "bo", "cia")
    listed = machine.run("outbox", "list", "--json").json["result"]
    assert [mail["subject"] for mail in listed] == ["anna", "bo", "cia"]
    first, second, third = (str(mail["outbox_id"]) for mail in listed)
    assert "Subject: anna" in machine.run("outbox", "show", first, "--json").json["result"]["header"]
    assert machine.run("outbox", "drop", second, "--json").json["result"] == {"dropped": [int(second)]}
    assert machine.run("outbox", "retry", third, "--json").json["result"] == {"retried": [int(third)]}
    flushed = machine.run("outbox", "flush", "--json").json["result"]
    assert (flushed["sent"], len(server.mails)) == (2, 2)
    sent = machine.run("outbox", "list", "--sent", "--json").json["result"]
    assert sorted(mail["subject"] for mail in sent) == ["anna", "cia"]
    assert "anna@example.com" in machine.run("outbox", "list", "--sent").out
    repaired = machine.run("outbox", "repair")
    assert repaired.code == 0
    assert "PostgreSQL" in repaired.err


def test_status_counts_what_waits_and_why(machine: Home, server: RecordingServer) -> None:
    server.replies["RCPT TO:<bo"] = b"450 4.2.1 not now\r\n"
    server.replies["RCPT TO:<cia"] = b"550 5.1.1 unknown\r\n"
    queue(machine, "anna", "bo", "cia")
    assert machine.run("outbox", "status").out == "3 mails wait, 0 sent in the last minute, 0 workers.\n"
    machine.run("outbox", "flush")
    status = machine.run("outbox", "status", "--json").json["result"]
    by_code = {one["error"]: (one["state"], one["mails"]) for one in status["by_code"]}
    assert (status["waiting"], status["failed"], status["per_minute"], status["workers"]) == (1, 1, 1, 0)
    assert by_code["rcpt.unknown"] == ("failed", 1)
    assert status["seconds_left"] == 60
    text = machine.run("outbox", "status").out
    assert "1 failed" in text
    assert "smtpsetup explain rcpt.unknown" in text


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_status_is_the_same_on_one_machine(
    home: Home, server: RecordingServer, shared: OutboxSettings, kind: str
) -> None:
    plain_account(home, server.port)
    if kind == "postgresql":
        at_top(home, f'outbox = "{shared.url}"')
    queue(home, "anna")
    status = home.run("outbox", "status", "--json").json["result"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", status.pop("oldest"))
    assert status == {
        "waiting": 1, "sending": 0, "unknown": 0, "failed": 0, "per_minute": 0, "seconds_left": None, "workers": 0,
        "by_code": [{"state": "waiting", "error": None, "mails": 1}], "held": [],
    }  # fmt: skip


def test_init_is_needed_once_and_says_so(home: Home, server: RecordingServer, cluster: Cluster) -> None:
    settings = cluster.database(has_tables=False)
    plain_account(home, server.port)
    run = home.run("outbox", "init")
    assert (run.code, "No shared outbox" in run.err) == (78, True)
    home.env["SMTPSETUP_OUTBOX"] = settings.url
    run = home.run("outbox", "list", "--json")
    assert (run.code, run.json["error"]["code"]) == (78, "outbox.schema")
    assert "outbox init" in run.json["error"]["hints"][0]
    first = home.run("outbox", "init", "--json")
    assert first.json["result"]["version_before"] is None
    again = home.run("outbox", "init", "--json").json["result"]
    assert (again["version"], again["version_before"]) == (1, 1)
    assert "key-file" in " ".join(first.err.split())  # there is no keyring here
    queue(home, "anna")
    assert home.run("outbox", "list", "--json").json["result"][0]["subject"] == "anna"


@pytest.fixture
def away(machine: Home, shared: OutboxSettings, cluster: Cluster) -> Home:
    """A machine whose shared outbox is away."""
    url = f"postgresql://anna@127.0.0.1:{free_port()}/mail?passfile=/root/hemlig"
    machine.config.write_text(machine.config.read_text().replace(shared.url, url))
    return machine


def test_while_it_is_away_mail_is_kept_on_this_machine_and_handed_on(
    away: Home, server: RecordingServer, shared: OutboxSettings
) -> None:
    run = away.run("send", "anna@example.com", "--body", "x", "--queue", "always", "--json")
    assert (run.code, run.json["result"]["queued"]) == (0, True)
    server.replies["RCPT"] = b"450 4.2.1 not now\r\n"
    run = away.run("send", "bo@example.com", "--body", "x")
    assert run.code == 0
    assert "kept on this machine" in " ".join(run.err.split())
    assert "hemlig" not in run.err
    assert sendmail(away, "cia@example.com", stdin="Subject: x\n\nx\n").code == 0
    server.replies.clear()
    assert sendmail(away, "dan@example.com", stdin="Subject: x\n\nx\n").code == 0
    assert [mail.recipients for mail in server.mails] == [("dan@example.com",)]
    assert local_mails(away) == ["anna@example.com", "bo@example.com", "cia@example.com"]
    for command in ("list", "flush", "status"):
        run = away.run("outbox", command, "--json")
        assert (run.code, run.json["error"]["code"]) == (75, "outbox.unavailable")
        assert "3 mails are kept on this machine" in run.json["error"]["message"]
    here = away.run("outbox", "list", "--here", "--json").json["result"]
    assert [mail["recipients"] for mail in here] == [["anna@example.com"], ["bo@example.com"], ["cia@example.com"]]
    assert away.run("outbox", "show", str(here[0]["outbox_id"]), "--here").code == 0
    assert away.run("outbox", "list", "--here", "--sent").code == 2
    text = re.sub('outbox = ".*"', f'outbox = "{shared.url}"', away.config.read_text())
    away.config.write_text(text)
    flushed = away.run("outbox", "flush", "--now", "--json").json["result"]
    assert flushed["sent"] == 3
    assert local_mails(away) == []


def test_a_password_in_the_url_is_refused_and_not_repeated(machine: Home, shared: OutboxSettings) -> None:
    text = machine.config.read_text().replace("postgres@", "postgres:hemligt@")
    machine.config.write_text(text)
    for arguments in (("outbox",), ("send", "a@example.com", "--body", "x"), ("outbox", "status", "--json")):
        run = machine.run(*arguments)
        assert run.code == 78
        assert "pgpass" in run.out + run.err
        assert "hemligt" not in run.out + run.err


def test_a_plain_send_loads_nothing_of_it(machine: Home, server: RecordingServer) -> None:
    code = (
        "import sys\nfrom smtpsetup.__main__ import main\n"
        "sys.argv = ['smtpsetup', 'send', 'a@example.com', '--body', 'x']\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code\n"
        "print([name for name in sys.modules if name.startswith(('psycopg', 'smtpsetup.outbox'))])"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], env=machine.env, cwd=machine.path, capture_output=True, text=True, check=True
    )
    assert (run.stdout.strip(), len(server.mails)) == ("[]", 1)


# batches


def lines(count: int) -> str:
    return "".join(
        f'{{"to": "k{number}@example.com", "body": "x", "subject": "{number}"}}\n' for number in range(count)
    )


def test_a_batch_is_loaded_once_and_resumed(machine: Home, server: RecordingServer) -> None:
    machine.file("b.jsonl", lines(30))
    run = machine.run("send", "--batch", "b.jsonl", "--queue", "always", "--json")
    assert run.code == 0, run.err
    assert [line["outbox_id"] for line in run.lines[:-1]] == sorted({line["outbox_id"] for line in run.lines[:-1]})
    assert run.lines[-1]["result"]["queued"] == 30
    machine.file("b.jsonl", lines(40))
    again = machine.run("send", "--batch", "b.jsonl", "--queue", "always", "--json")
    assert again.lines[-1]["result"]["queued"] == 10
    assert "30 of these 40" in again.err
    assert machine.run("outbox", "flush", "--json").json["result"]["sent"] == 40
    assert len({mail.message_id for mail in server.mails}) == 40
    third = machine.run("send", "--batch", "b.jsonl", "--queue", "always", "--json")
    assert third.lines[-1]["result"]["queued"] == 0
    anew = machine.run("send", "--batch", "b.jsonl", "--queue", "always", "--restart", "--json")
    assert anew.lines[-1]["result"]["queued"] == 40


def test_a_batch_with_a_wrong_line_loads_nothing(machine: Home) -> None:
    machine.file("b.jsonl", lines(5) + '{"to": "nobody"}\n')
    run = machine.run("send", "--batch", "b.jsonl", "--queue", "always")
    assert (run.code, "Line 6" in run.err) == (65, True)
    assert machine.run("outbox", "list", "--json").json["result"] == []


def test_a_batch_that_is_sent_here_is_known_on_other_machines(machine: Home, server: RecordingServer) -> None:
    path = machine.file("b.jsonl", lines(5))
    assert machine.run("send", "--batch", str(path)).code == 0
    machine.env["SMTPSETUP_STATE_DIR"] = str(machine.path / "another-machine")
    again = machine.run("send", "--batch", str(path))
    assert again.code == 0
    assert "5 of these 5 mails were sent by an earlier run" in " ".join(again.err.split())
    assert len(server.mails) == 5


def test_a_batch_without_the_database_sends_nothing(away: Home, server: RecordingServer) -> None:
    away.file("b.jsonl", lines(5))
    for options in ((), ("--queue", "always")):
        run = away.run("send", "--batch", "b.jsonl", "--json", *options)
        assert (run.code, run.lines[-1]["error"]["code"]) == (75, "outbox.unavailable")
        assert any("nothing twice" in hint for hint in run.lines[-1]["error"]["hints"])
    assert server.mails == []


# workers


@contextmanager
def working(home: Home, *options: str) -> Iterator[subprocess.Popen[str]]:
    """A worker, until the end of the block."""
    command = [sys.executable, "-m", "smtpsetup", "outbox", "work", *options]
    with subprocess.Popen(
        command, env=home.unmeasured.env, cwd=home.path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("kind", [pytest.param("sqlite", marks=pytest.mark.slow), "postgresql"])
def test_a_worker_sends_what_comes_and_ends_on_sigterm(
    home: Home, server: RecordingServer, shared: OutboxSettings, kind: str
) -> None:
    plain_account(home, server.port)
    if kind == "postgresql":
        at_top(home, f'outbox = "{shared.url}"')
    queue(home, "anna")
    with working(home, "--json") as worker:
        wait_for(lambda: len(server.mails) == 1)
        queue(home, "bo")
        wait_for(lambda: len(server.mails) == 2)
        began = time.monotonic()
        worker.send_signal(signal.SIGTERM)
        out, err = worker.communicate(timeout=20)
        assert (worker.returncode, err) == (0, "")
        assert time.monotonic() - began < 10
    tried = [json.loads(line)["result"] for line in out.splitlines()]
    assert [(one["event"], one["accepted"]) for one in tried] == [
        ("tried", ["anna@example.com"]),
        ("tried", ["bo@example.com"]),
    ]


def test_a_machine_that_lacks_an_account_leaves_its_mail_to_the_others(machine: Home, server: RecordingServer) -> None:
    queue(machine, "anna")
    before = machine.run("outbox", "list", "--json").json["result"]
    own = machine.config.read_text()
    machine.config.write_text(own.replace("[accounts.a]", "[accounts.b]"))
    with working(machine) as worker:
        assert worker.stderr
        assert "config.no-account" in worker.stderr.readline()
        assert machine.run("outbox", "list", "--json").json["result"] == before
        machine.config.write_text(own)
        wait_for(lambda: len(server.mails) == 1)


def test_a_worker_without_mail_is_counted(machine: Home, server: RecordingServer) -> None:
    def workers() -> object:
        return machine.run("outbox", "status", "--json").json["result"]["workers"]

    assert workers() == 0
    with working(machine), working(machine):
        wait_for(lambda: workers() == 2)
        server.replies["RCPT"] = b"450 4.2.1 not now\r\n"
        queue(machine, "anna")
        found = {one["check"]: one for one in machine.run("doctor", "--json").json["result"]["checks"]}
        assert found["shared-outbox"]["status"] == "ok"
    wait_for(lambda: workers() == 0)


def test_the_unit_of_a_worker_is_shown(machine: Home) -> None:
    run = machine.run("outbox", "work", "--install", "--print", "--json")
    ((path, content),) = run.json["result"]["files"].items()
    assert path.endswith(".config/systemd/user/smtpsetup-worker.service")
    for line in ("Type=notify", "WatchdogSec=120", "Restart=always", "WantedBy=default.target"):
        assert line in content.splitlines()
    assert "outbox work\n" in content
    assert machine.run("outbox", "work", "--uninstall", "--json").json["result"] == {"removed": []}
    assert machine.run("outbox", "work", "--print").code == 2


def test_the_doctor_looks_at_it(machine: Home, away: Home) -> None:
    found = {one["check"]: one for one in away.run("doctor", "--json").json["result"]["checks"]}
    assert found["shared-outbox"]["code"] == "outbox.unavailable"


def test_the_doctor_tells_that_nobody_works(machine: Home) -> None:
    queue(machine, "anna")
    found = {one["check"]: one for one in machine.run("doctor", "--json").json["result"]["checks"]}
    assert found["shared-outbox"]["status"] == "warning"
    assert "outbox work --install" in found["shared-outbox"]["hints"][0]


def test_without_the_library_mail_is_kept_here_and_the_library_named(machine: Home, tmp_path: Path) -> None:
    (tmp_path / "psycopg.py").write_text("raise ModuleNotFoundError('no psycopg', name='psycopg')\n")
    machine.env["PYTHONPATH"] = str(tmp_path)
    run = machine.run("outbox", "list", "--json")
    assert (run.code, run.json["error"]["code"]) == (75, "outbox.unavailable")
    assert "psycopg" in run.json["error"]["message"]
    assert "psycopg[binary]" in run.json["error"]["hints"][0]
    queue(machine, "anna")
    assert local_mails(machine) == ["anna@example.com"]
