"""Mail that was lost or starved.

One bad mail stops no other, what was handed in outlives whatever ends the program, and damage is seen.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from smtpsetup.message.message import Envelope, from_bytes
from smtpsetup.outbox import database
from smtpsetup.outbox.mail import Mail, NewMail
from smtpsetup.outbox.mail_state import MailState
from smtpsetup.outbox.store import Outbox
from smtpsetup.state import private_dir
from tests.faults.test_outbox_trouble import own_mount
from tests.mail_server import MailServer, Turn
from tests.recording import RecordingServer, new_mail, plain_account, state_dir
from tests.sendmail import PROGRAM, kept, log_lines, sendmail
from tests.servers import closed_port, missing, wait_for

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

    from tests.conftest import Home, Run

SEED = 20261126
MESSAGE = "To: asa@example.com\nSubject: Nattens rapport\n\nx\n"


def breaks(*names: str, verb: str = "DATA") -> Callable[[Turn], bytes | None]:
    """A server that hangs up whenever it is handed one of these mails, each known by its recipient."""
    current: dict[int, str] = {}

    def answer(turn: Turn) -> bytes | None:
        if turn.verb == "RCPT":
            current[turn.connection] = turn.line
        is_bad = any(f"<{name}@" in current.get(turn.connection, "") for name in names)
        return b"" if turn.verb == verb and is_bad else None

    return answer


class DropsLarge(RecordingServer):
    """Hangs up in the midst of each message to somebody whose name begins with large."""

    def _line(self, client: socket.socket, state: Any, line: bytes, group: list[str]) -> bool:
        if state.content is not None and any(recipient.startswith("large") for recipient in state.recipients):
            return False
        return super()._line(client, state, line, group)


def large_mail(number: int) -> NewMail:
    message = from_bytes(
        f"Message-ID: <large{number}@x>\r\nSubject: large\r\n\r\n".encode() + (b"x" * 70 + b"\r\n") * 57_000
    )
    return NewMail(
        "a", Envelope("info@example.com", (f"large{number}@example.com",)), message, f"<large{number}@x>", "large"
    )


def fill(home: Home, *mails: NewMail) -> None:
    with Outbox(state_dir(home)) as box:
        for mail in mails:
            box.add(mail)


def waiting(home: Home) -> dict[str, Mail]:
    with Outbox(state_dir(home)) as box:
        return {mail.recipients[0].partition("@")[0]: mail for mail in box.mails() if mail.recipients}


# 1: three mails that break the connection


def test_large_mails_dropped_during_the_body_do_not_starve_others(home: Home) -> None:
    fill(home, *(large_mail(number) for number in range(3)), new_mail(7))
    with DropsLarge() as server:
        plain_account(home, server.port)
        assert home.run("outbox", "flush").code == 0
    assert server.message_ids == ["<7@test.example>"]
    assert server.connections <= 4
    assert {name: (mail.attempts, mail.last_code) for name, mail in waiting(home).items()} == {
        f"large{number}": (1, "connection.lost") for number in range(3)
    }


@pytest.mark.parametrize("verb", ["RCPT", "DATA"])
@pytest.mark.parametrize("breakers", [1, 3, 6])
def test_a_flush_sends_every_mail_that_breaks_no_connection(home: Home, verb: str, breakers: int) -> None:
    names = tuple(f"b{number}" for number in range(breakers))
    fill(home, *(new_mail(number, (f"{name}@example.com",)) for number, name in enumerate((*names, "good1", "good2"))))
    with MailServer(breaks(*names, verb=verb)) as server:
        plain_account(home, server.port)
        assert home.run("outbox", "flush").code == 0
    assert sorted(mail.recipients[0] for mail in server.mails) == ["good1@example.com", "good2@example.com"]
    assert server.connections <= breakers + 1
    assert {name: mail.attempts for name, mail in waiting(home).items()} == dict.fromkeys(names, 1)


def test_untried_mail_has_no_attempt_counted_and_is_sent_by_the_next_flush(home: Home) -> None:
    names = tuple(f"b{number}" for number in range(40))
    fill(home, *(new_mail(number, (f"{name}@example.com",)) for number, name in enumerate((*names, "good"))))
    with MailServer(breaks(*names)) as server:
        plain_account(home, server.port)
        assert home.run("outbox", "flush").code == 0
        first = waiting(home)
        assert home.run("outbox", "flush").code == 0
    assert {mail.attempts for mail in first.values()} == {0, 1}
    assert first["good"].attempts == 0
    assert [mail.recipients[0] for mail in server.mails] == ["good@example.com"]


@pytest.mark.slow
def test_poison_mails_are_given_up_after_days_and_no_others_with_them(home: Home) -> None:
    names = ("b0", "b1", "b2")
    fill(home, *(new_mail(number, (f"{name}@example.com",)) for number, name in enumerate(names)))
    with MailServer(breaks(*names)) as server:
        plain_account(home, server.port)
        for hours in range(0, 144, 6):
            with contextlib.closing(sqlite3.connect(f"{state_dir(home)}/outbox.db")) as db, db:
                db.execute(
                    "UPDATE mail SET next_attempt = 0, queued_at = ? WHERE next_attempt IS NOT NULL",
                    (time.time() - hours * 3600,),
                )
            fill(home, new_mail(100 + hours, (f"good{hours}@example.com",)))
            assert home.run("outbox", "flush").code == 0
    assert len(server.mails) == 24
    assert {mail.state for mail in waiting(home).values()} == {MailState.FAILED}


def batch(home: Home, *names: str) -> str:
    rows = ({"to": f"{name}@example.com", "subject": name, "body": "x"} for name in names)
    return str(home.file("mails.jsonl", "".join(json.dumps(row) + "\n" for row in rows)))


@pytest.mark.parametrize("connections", ["1", "3"])
def test_a_batch_without_queue_sends_every_row_behind_poison_mails(home: Home, connections: str) -> None:
    good = tuple(f"good{number}" for number in range(10))
    path = batch(home, "b0", "b1", "b2", *good)
    with MailServer(breaks("b0", "b1", "b2")) as server:
        plain_account(home, server.port)
        run = home.run("send", "--batch", path, "--queue", "never", "--connections", connections)
    assert run.code == 75
    assert sorted(server.subjects) == sorted(good)


def test_a_batch_stopped_by_poison_mails_begins_with_the_others_when_run_again(home: Home) -> None:
    path = batch(home, *(f"b{number:02}" for number in range(30)), "good0", "good1")
    with MailServer(breaks(*(f"b{number:02}" for number in range(30)))) as server:
        plain_account(home, server.port)
        assert home.run("send", "--batch", path, "--queue", "never").code == 75
        assert home.run("send", "--batch", path, "--queue", "never").code == 75
    assert server.subjects == ["good0", "good1"]


@pytest.mark.parametrize(
    "reply", [b"450 4.7.1 Rate limit exceeded, slow down\r\n", b"550 5.4.5 Daily user sending quota exceeded\r\n"]
)
def test_mail_behind_a_providers_limit_has_no_attempt_counted(home: Home, reply: bytes) -> None:
    fill(home, *(new_mail(number, (f"m{number}@example.com",)) for number in range(5)))
    with MailServer(lambda turn: reply if turn.verb == "RCPT" else None) as server:
        plain_account(home, server.port)
        home.run("outbox", "flush")
    counted = sorted(mail.attempts for mail in waiting(home).values())
    assert counted == [0, 0, 0, 0, 1]
    assert all((mail.next_attempt or 0) > time.time() + 30 for mail in waiting(home).values())


# 2: killed while it sends


def started(home: Home, *arguments: str, program: str = PROGRAM, message: str = MESSAGE) -> subprocess.Popen[bytes]:
    argv = [program, *arguments] if program == PROGRAM else [sys.executable, "-m", "smtpsetup", *arguments]
    process = subprocess.Popen(
        argv,
        env=home.unmeasured.env,
        cwd=home.path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdin
    process.stdin.write(message.encode())
    process.stdin.close()
    process.stdin = None
    return process


@contextlib.contextmanager
def silent_at(verb: str) -> Iterator[tuple[MailServer, list[str]]]:
    """A server that says nothing to a command for a long time, and whether it has come."""
    reached: list[str] = []

    def answer(turn: Turn) -> bytes | None:
        if turn.verb == verb:
            reached.append(verb)
            time.sleep(20)  # longer than the test waits for anything
        return None

    with MailServer(answer) as server:
        yield server, reached


ENDINGS = [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL]


@pytest.mark.matrix
@pytest.mark.parametrize("number", ENDINGS)
@pytest.mark.parametrize(
    ("verb", "state"),
    [
        ("CONNECT", MailState.WAITING),
        ("EHLO", MailState.WAITING),
        ("RCPT", MailState.WAITING),
        (".", MailState.UNKNOWN),
    ],
)
def test_a_sendmail_terminated_while_sending_loses_nothing(
    home: Home, number: signal.Signals, verb: str, state: MailState
) -> None:
    with silent_at(verb) as (server, reached):
        plain_account(home, server.port)
        process = started(home, "-t")
        wait_for(lambda: reached)
        process.send_signal(number)
        process.communicate(timeout=20)
    assert process.returncode != 0
    listed = home.run("outbox", "list", "--json").json["result"]
    assert [(mail["state"], mail["recipients"], mail["subject"]) for mail in listed] == [
        (str(state), ["asa@example.com"], "Nattens rapport")
    ]
    with RecordingServer() as other:
        plain_account(home, other.port)
        assert home.run("outbox", "flush").code == 0
    assert [arrival.recipients for arrival in other.mails] == [("asa@example.com",)]


def test_sendmail_syncs_the_mail_to_disk_before_it_connects(home: Home, tmp_path: Path) -> None:
    if not shutil.which("strace"):
        missing("needs strace: apt-get install strace")
    trace = tmp_path / "trace"
    with RecordingServer() as server:
        plain_account(home, server.port)
        assert sendmail(home, "-t", stdin=MESSAGE).code == 0  # makes the outbox
        argv = ["strace", "-f", "-ttt", "-e", "trace=read,fsync,fdatasync,connect", "-o", str(trace), PROGRAM, "-t"]
        subprocess.run(argv, env=home.unmeasured.env, input=MESSAGE.encode(), check=True, timeout=60)
    calls = [line.split(maxsplit=2)[1:] for line in trace.read_text().splitlines()]
    names = [(float(when), call) for when, call in calls]
    connected = next(when for when, call in names if call.startswith("connect(") and f"htons({server.port})" in call)
    end_of_input = max(when for when, call in names if call.startswith("read(0,") and call.endswith("= 0"))
    synced = [
        when for when, call in names if call.startswith(("fsync(", "fdatasync(")) and end_of_input < when < connected
    ]
    assert synced
    assert server.mails


def test_unresolvable_recipients_are_kept_in_the_same_commit_as_the_rest(home: Home) -> None:
    with silent_at("CONNECT") as (server, reached):
        plain_account(home, server.port)
        process = started(home, "asa@example.com", "nobody-of-that-name")
        wait_for(lambda: reached)
        process.kill()
        process.communicate(timeout=20)
    listed = home.run("outbox", "list", "--json").json["result"]
    assert [(mail["recipients"], mail["state"]) for mail in listed] == [
        (["asa@example.com"], "waiting"),
        (["nobody-of-that-name"], "failed"),
    ]


@pytest.mark.matrix
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize(("verb", "state"), [("CONNECT", "waiting"), ("RCPT", "waiting"), (".", "unknown")])
def test_a_terminated_send_keeps_the_mail_and_says_so(
    home: Home, number: signal.Signals, verb: str, state: str
) -> None:
    with silent_at(verb) as (server, reached):
        plain_account(home, server.port)
        process = started(home, "send", "asa@example.com", "-s", "x", program="smtpsetup")
        wait_for(lambda: reached)
        process.send_signal(number)
        _out, err = process.communicate(timeout=20)
    assert process.returncode == 143
    (mail,) = home.run("outbox", "list", "--json").json["result"]
    assert (mail["state"], mail["recipients"]) == (state, ["asa@example.com"])
    assert f"in the outbox as number {mail['outbox_id']}" in " ".join(err.decode().split())


@pytest.mark.parametrize("verb", ["RCPT", "."])
def test_a_terminated_send_without_queue_says_that_nothing_is_kept(home: Home, verb: str) -> None:
    with silent_at(verb) as (server, reached):
        plain_account(home, server.port)
        process = started(home, "send", "asa@example.com", "-s", "x", "--queue", "never", program="smtpsetup")
        wait_for(lambda: reached)
        process.terminate()
        _out, err = process.communicate(timeout=20)
    assert process.returncode == 143
    assert kept(home) == []
    told = " ".join(err.decode().split())
    assert "The mail is not kept" in told
    assert ("the mail may have arrived" in told) == (verb == ".")


def test_a_terminated_flush_waits_for_the_pending_reply(home: Home) -> None:
    reached: list[str] = []

    def answer(turn: Turn) -> bytes | None:
        if turn.verb == ".":
            reached.append(turn.verb)
            time.sleep(0.5)  # a server takes its time to store a message
        return None

    fill(home, *(new_mail(number) for number in range(5)))
    with MailServer(answer) as server:
        plain_account(home, server.port)
        process = started(home, "outbox", "flush", program="smtpsetup")
        wait_for(lambda: reached)
        process.terminate()
        process.communicate(timeout=20)
        assert process.returncode == 143
        wait_for(lambda: len(server.mails) == len(reached))
    listed = home.run("outbox", "list", "--json").json["result"]
    assert len(server.mails) + len(listed) == 5
    assert {mail["state"] for mail in listed} == {"waiting"}


def test_the_warning_that_nothing_flushes_the_outbox_comes_once_a_day(home: Home) -> None:
    with closed_port() as port:
        plain_account(home, port)
        runs = [sendmail(home, "-t", stdin=MESSAGE) for _time in range(3)]
        (marker,) = Path(state_dir(home)).glob("flush-looked-for-*")
        marker.rename(marker.with_name("flush-looked-for-2020-01-01"))  # a day later
        runs.append(sendmail(home, "-t", stdin=MESSAGE))
    assert [run.code for run in runs] == [0] * 4
    assert [bool(run.err) for run in runs] == [True, False, False, True]
    assert "smtpsetup outbox schedule --install" in runs[0].err
    assert len(list(Path(state_dir(home)).glob("flush-looked-for-*"))) == 1


# 3: a full disk


def filled_up(home: Home, state: Path, options: str) -> Home:
    """A home whose state directory is on a small disk of its own, which is full once `fill-it` is run there."""
    return own_mount(home, state, options)


DRAINED = """
set -e
cd "$0"
"$1" -m smtpsetup outbox list --json > /dev/null
for n in 1 2 3 4 5 6 7 8; do "$1" -m smtpsetup send kund@example.com -s $n --body x --queue always > /dev/null; done
cat /dev/zero > full 2>/dev/null || true
test "$(df --output=avail . | tail -1)" -eq 0
"$1" -m smtpsetup outbox flush
test "$("$1" -m smtpsetup outbox list --json)" = '{"schema": 1, "command": "outbox", "ok": true, "result": []}'
"""


@pytest.mark.matrix
@pytest.mark.parametrize("megabytes", [3, 20])
def test_a_flush_drains_the_outbox_on_a_full_disk(home: Home, megabytes: int) -> None:
    state = home.path / "state"
    with RecordingServer() as server:
        plain_account(home, server.port)
        mounted = own_mount(home.unmeasured, state, f"size={megabytes}m")
        argv = [*mounted.prefix, "sh", "-c", DRAINED, str(state), sys.executable]
        done = subprocess.run(
            argv,
            env={**mounted.env, "SMTPSETUP_STATE_DIR": str(state)},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert len(server.mails) == 8


def test_a_batch_on_a_disk_that_fills_up_notes_every_sent_mail(home: Home) -> None:
    """The room for it was taken before the dot."""
    state = home.path / "state"
    path = batch(home, *(f"m{number}" for number in range(60)))
    with RecordingServer() as server:
        plain_account(home, server.port)
        mounted = own_mount(home.unmeasured, state, "size=12k")
        script = (
            f'"$0" -m smtpsetup send --batch {path} --queue never; "$0" -m smtpsetup send --batch {path} --queue '
            f"never --on-unknown hold"
        )
        argv = [*mounted.prefix, "sh", "-c", script, sys.executable]
        done = subprocess.run(
            argv,
            env={**mounted.env, "SMTPSETUP_STATE_DIR": str(state)},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
    assert done.returncode in (0, 74), done.stderr
    assert len(set(server.message_ids)) == len(server.message_ids)
    assert "may have arrived" not in done.stderr


@pytest.mark.slow
def test_an_unwritable_note_is_reported_by_what_the_server_has_done() -> None:
    from smtpsetup.core.errors import SmtpsetupError  # as below
    from smtpsetup.message.delivery import Delivery
    from tests.adapters.test_submit import opened

    def full() -> None:
        raise OSError(28, "No space left on device", "/state/journal")

    told = []
    for place, reply in (("before_dot", None), ("accepted", None), ("not_accepted", b"554 5.7.1 spam\r\n")):

        def answer(turn: Turn, reply: bytes | None = reply) -> bytes | None:
            return reply if turn.verb == "." else None

        with MailServer(answer) as server, opened(server.port) as session:
            plain = Delivery(Envelope("i@example.com", ("a@example.com",)), from_bytes(b"Subject: x\r\n\r\nx\r\n"))
            changed: dict[str, Any] = {place: full}
            delivery = plain._replace(**changed)
            with pytest.raises(SmtpsetupError) as caught:
                list(session.deliver_all(iter([delivery]), lockstep=False))
            told.append(caught.value.causes[0])
            assert (caught.value.exit_code, len(server.mails)) == (74, int(place == "accepted"))
    assert "was not sent" in told[0]
    assert "has taken this mail" in told[1]
    assert "has refused this mail, and said: 554 5.7.1 spam" in told[2]


@pytest.mark.parametrize("queue", ["on-failure", "always"])
def test_exit_code_0_when_only_the_result_cannot_be_written(home: Home, queue: str) -> None:
    with RecordingServer() as server:
        plain_account(home, server.port)
        command = f'exec "$0" -m smtpsetup send kund@example.com --body x --json --queue {queue} > /dev/full'
        done = subprocess.run(
            ["sh", "-c", command, sys.executable], env=home.env, capture_output=True, text=True, timeout=60, check=False
        )
    assert done.returncode == 0, done.stderr
    assert "could not be written to standard output" in " ".join(done.stderr.split())
    assert len(server.mails) == (queue == "on-failure")


LONG = b"x" * 3_000_000


@pytest.mark.parametrize("head", [b"", b"Subject: x\n\n"], ids=["no header", "header"])
def test_a_body_line_of_three_megabytes_is_sent(home: Home, head: bytes) -> None:
    with RecordingServer() as server:
        plain_account(home, server.port)
        assert sendmail(home, "asa@example.com", stdin=head + LONG + b"\n").code == 0
    (arrival,) = server.mails
    assert len(arrival.content) >= 3_000_000


@pytest.mark.parametrize("head", [b"X-Long: ", b"X-Long: x\n ", b"To: bo@example.com\nX-Long: "])
def test_a_header_field_of_three_megabytes_is_refused_and_the_mail_saved(home: Home, head: bytes) -> None:
    plain_account(home, 1)
    done = sendmail(home, "asa@example.com", stdin=head + LONG + b"\n\nText.\n")
    assert done.code == 65
    (saved,) = home.path.rglob("smtpsetup-unsent-*.eml")
    assert str(saved) in done.err
    content = saved.read_bytes()
    assert LONG in content
    assert content.endswith(b"Text.\r\n")
    assert b"\r\n\r\n" not in content.partition(LONG)[0]


def test_a_small_tmpdir_loses_no_mail(home: Home) -> None:
    small = home.path / "small"
    with RecordingServer() as server:
        plain_account(home, server.port)
        done = sendmail(
            own_mount(home.unmeasured, small, "size=64k"), "-t", stdin=MESSAGE + "line\n" * 1_000_000, TMPDIR=str(small)
        )
    assert done.code == 0, done.err
    assert server.mails[0].body.count(b"line\r\n") == 1_000_000


# 4: damage that nobody sees


@pytest.fixture(scope="module")
def as_killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An outbox with 24 mails in its write-ahead log, as a process leaves it that is killed."""
    directory, copy = tmp_path_factory.mktemp("box"), tmp_path_factory.mktemp("copy")
    with Outbox(str(directory)) as box:
        for number in range(24):
            box.add(new_mail(number))
        shutil.copytree(directory, copy, dirs_exist_ok=True)
    (copy / "outbox.db-shm").unlink()
    return copy


@pytest.fixture(scope="module")
def at_rest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("rest")
    with Outbox(str(directory)) as box:
        for number in range(40):
            box.add(new_mail(number))
    return directory


def copied(home: Home, source: Path) -> Path:
    directory = Path(state_dir(home))
    shutil.rmtree(directory, ignore_errors=True)
    shutil.copytree(source, directory)
    directory.chmod(0o700)
    return directory


def flip(path: Path, offset: int, bit: int = 0) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        value = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([value ^ (1 << bit)]))


def flush_and_repair(home: Home, server: RecordingServer) -> list[Run]:
    """What a person does who has damage: flush, repair as they are told, flush."""
    plain_account(home, server.port)
    return [
        home.run("outbox", *command)
        for command in (("list", "--json"), ("flush",), ("repair", "--json"), ("flush",), ("list", "--json"))
    ]


@pytest.mark.matrix
@pytest.mark.parametrize("part", range(6))
def test_a_flipped_bit_in_the_wal_is_detected_and_the_mails_behind_it_saved(
    home: Home, as_killed: Path, part: int
) -> None:
    source = random.Random(f"{SEED} {part}")
    directory = copied(home, as_killed)
    log = directory / "outbox.db-wal"
    flip(log, source.randrange(4200, log.stat().st_size - 4200), source.randrange(8))
    with RecordingServer() as server:
        listed, _flushed, repaired, _again, left = flush_and_repair(home, server)
    assert listed.code == 74 or len(listed.json["result"]) == 24
    if listed.code == 74:
        assert "smtpsetup outbox repair" in listed.err
    result = repaired.json["result"]
    arrived = len(set(server.message_ids))
    assert arrived >= 23
    assert arrived + (result["lost"] or 0) + len(left.json["result"]) >= 24


@pytest.mark.matrix
@pytest.mark.parametrize("offset", range(0, 100, 3))
def test_an_outbox_with_a_wrong_byte_in_its_header_is_repaired(home: Home, at_rest: Path, offset: int) -> None:
    directory = copied(home, at_rest)
    flip(directory / "outbox.db", offset, 1)
    with RecordingServer() as server:
        runs = flush_and_repair(home, server)
    assert runs[3].code == 0, [run.err for run in runs]
    assert len(set(server.message_ids)) == 40
    assert runs[4].json["result"] == []


@pytest.mark.matrix
@pytest.mark.parametrize("part", range(12))
def test_a_mail_whose_content_was_changed_is_not_sent(home: Home, at_rest: Path, part: int) -> None:
    source = random.Random(f"{SEED} {part}")
    directory = copied(home, at_rest)
    with contextlib.closing(sqlite3.connect(directory / "outbox.db")) as db, db:
        for number in source.sample(range(1, 41), 5):
            ((header, body),) = db.execute("SELECT header, body FROM content WHERE id = ?", (number,))
            whole = bytearray(header + body)
            place = source.randrange(len(whole))
            whole[place] ^= 1 << source.randrange(8)
            db.execute(
                "UPDATE content SET header = ?, body = ? WHERE id = ?",
                (whole[: len(header)], whole[len(header) :], number),
            )
    with RecordingServer() as server:
        plain_account(home, server.port)
        home.run("outbox", "flush")
        expected = {f"Subject: {number}\r\n\r\nNumber {number}.".encode() for number in range(40)}
        assert len(server.mails) == 35
        assert all(any(text in arrival.content for text in expected) for arrival in server.mails)
        listed = home.run("outbox", "list", "--json").json["result"]
        assert {mail["state"] for mail in listed} == {"failed"}
        assert len(listed) == 5
        home.run("outbox", "retry", "--all")
        home.run("outbox", "flush")
        assert len(server.mails) == 35
        repaired = home.run("outbox", "repair", "--json")
        assert (repaired.code, len(repaired.json["result"]["changed"])) == (74, 5)
        home.run("outbox", "retry", "--all")  # a person has looked at them
        home.run("outbox", "flush")
        assert len(server.mails) > 35


@pytest.mark.parametrize(
    "column", ["sender", "recipients", "account", "config", "is_ascii", "subject", "message_id", "holds"]
)
def test_a_mail_whose_row_was_changed_is_not_sent(home: Home, at_rest: Path, column: str) -> None:
    directory = copied(home, at_rest)
    with contextlib.closing(sqlite3.connect(directory / "outbox.db")) as db, db:
        value = {"recipients": '["evil@example.com"]', "is_ascii": 0, "holds": 1}.get(column, "evil@example.com")
        db.execute(f"UPDATE mail SET {column} = ? WHERE id = 7", (value,))
    with RecordingServer() as server:
        plain_account(home, server.port)
        home.run("outbox", "flush")
    assert len(server.mails) == 39
    assert not any("evil@example.com" in arrival.recipients for arrival in server.mails)
    (mail,) = home.run("outbox", "list", "--json").json["result"]
    assert (mail["outbox_id"], mail["state"]) == (7, "failed")


def as_version_1(directory: Path) -> None:
    """As the version before made it."""
    with contextlib.closing(sqlite3.connect(directory / "outbox.db")) as db, db:
        for column in ("checksum", "content_checksum", "put_offs"):
            db.execute(f"ALTER TABLE mail DROP COLUMN {column}")
        db.execute("PRAGMA user_version = 1")
    (directory / "outbox.making").write_bytes(b"1")


def test_an_outbox_of_version_1_is_read_and_sent(home: Home, at_rest: Path) -> None:
    directory = copied(home, at_rest)
    as_version_1(directory)
    with RecordingServer() as server:
        plain_account(home, server.port)
        assert home.run("outbox", "repair").out.startswith("The outbox is sound")
        assert home.run("outbox", "flush").code == 0
    assert len(server.mails) == 40


@pytest.mark.slow
def test_an_outbox_of_version_1_is_migrated_when_nobody_uses_it(home: Home, at_rest: Path) -> None:
    """A process of that version knows no checksums: what it wrote afterwards would be taken for damage."""
    directory = copied(home, at_rest)
    as_version_1(directory)
    handle = database.lock(str(directory / "outbox.db"), is_shared=True)  # as a flush of the older version holds it
    listing = subprocess.Popen(
        [sys.executable, "-m", "smtpsetup", "outbox", "list", "--json"],
        env=home.env,
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
    )
    with pytest.raises(subprocess.TimeoutExpired):
        listing.communicate(timeout=2)
    with contextlib.closing(sqlite3.connect(directory / "outbox.db")) as db, db:
        assert db.execute("PRAGMA user_version").fetchone() == (1,)
        db.execute("UPDATE mail SET lease = NULL, recipients = '[\"new@example.com\"]' WHERE id = 7")
    os.close(handle)
    out, _err = listing.communicate(timeout=60)
    (mail,) = [mail for mail in json.loads(out)["result"] if mail["outbox_id"] == 7]
    assert (mail["state"], mail["recipients"]) == ("waiting", ["new@example.com"])


# 5: root in somebody's directory


# root without its right to write everywhere, which Python's and pytest's directories may be read with whoever one has
# become
AS_ROOT = ("setpriv", "--bounding-set=-all,+dac_read_search,+setuid,+setgid", "--securebits=+no_setuid_fixup")


def of_nobody(home: Home) -> Home:
    """That home as somebody else's, for commands that root runs."""
    if os.getuid() != 0 or not shutil.which("setpriv"):
        missing("needs root and setpriv: apt-get install util-linux")
    for path in (home.path, *home.path.rglob("*")):
        os.lchown(path, 65534, 65534)
    return replace(home.unmeasured, prefix=AS_ROOT)


def owners(home: Home) -> set[int]:
    return {path.lstat().st_uid for path in home.path.rglob("*")}


def test_commands_of_root_leave_the_users_files_to_the_user(home: Home) -> None:
    with closed_port() as port:
        plain_account(home, port)
        home = of_nobody(home)
        for command in (
            ("outbox", "list"),
            ("send", "kund@example.com", "--body", "x"),
            ("outbox", "flush"),
            ("outbox", "repair"),
        ):
            run = home.run(*command)
            assert run.code == 0, run.err
    assert owners(home) == {65534}


def test_root_follows_no_symlink_of_the_user(home: Home, tmp_path: Path) -> None:
    target = tmp_path / "roots"
    target.mkdir(mode=0o700)
    (home.path / ".local").symlink_to(target)
    home = of_nobody(home)
    assert home.run("outbox", "list").code == 74
    assert list(target.iterdir()) == []


def test_the_log_and_the_daily_count_of_root_belong_to_the_user(home: Home) -> None:
    with RecordingServer() as server:
        plain_account(home, server.port)
        home = of_nobody(home)
        assert home.run("send", "kund@example.com", "--body", "x").code == 0
        assert home.run("send", "--batch", "-", stdin='{"to": "kund@example.com", "body": "x"}\n').code == 0
    assert owners(home) == {65534}
    assert len(log_lines(home)) == 2


def test_root_is_told_to_use_an_installation_that_the_user_can_read(home: Home) -> None:
    home = replace(of_nobody(home), prefix=())
    hidden = home.path.parent / "hidden"
    shutil.copytree(Path(private_dir.__file__).parents[1], hidden / "smtpsetup")
    hidden.chmod(0o700)
    run = home.run("outbox", "list", PYTHONPATH=str(hidden))
    assert run.code == 74
    assert "run, as the owner, one that is installed" in " ".join(run.err.split())
    assert owners(home) <= {65534}
