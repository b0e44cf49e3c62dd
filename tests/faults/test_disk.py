"""On a full or read-only disk mail is sent or saved elsewhere, and the outbox can be listed and flushed."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from smtpsetup.message.message import Envelope
from tests.faults.outboxes import batch_file
from tests.faults.processes import own_mount, shell
from tests.mail_server import MailServer, Turn
from tests.messages import from_bytes
from tests.recording import RecordingServer, plain_account, state_dir
from tests.servers import closed_port

if TYPE_CHECKING:
    from tests.conftest import Home


DRAINED = """
set -e
cd "$SMTPSETUP_STATE_DIR"
"$0" -m smtpsetup outbox list --json > /dev/null
for n in 1 2 3 4 5 6 7 8; do "$0" -m smtpsetup send kund@example.com -s $n --body x --queue always > /dev/null; done
cat /dev/zero > full 2>/dev/null || true
test "$(df --output=avail . | tail -1)" -eq 0
"$0" -m smtpsetup outbox flush
test "$("$0" -m smtpsetup outbox list --json)" = '{"schema": 1, "command": "outbox", "ok": true, "result": []}'
"""


@pytest.mark.parametrize("megabytes", [3, 20])
def test_a_flush_drains_the_outbox_on_a_full_disk(home: Home, megabytes: int) -> None:
    state = home.path / "state"
    with RecordingServer() as server:
        plain_account(home, server.port)
        mounted = own_mount(home.unmeasured, state, f"size={megabytes}m")
        done = shell(mounted, DRAINED, SMTPSETUP_STATE_DIR=str(state))
    assert done.code == 0, done.err
    assert len(server.mails) == 8


def test_a_batch_on_a_disk_that_fills_up_notes_every_sent_mail(home: Home) -> None:
    """The room for it was taken before the dot."""
    state = home.path / "state"
    path = batch_file(home, *(f"m{number}" for number in range(60)))
    with RecordingServer() as server:
        plain_account(home, server.port)
        mounted = own_mount(home.unmeasured, state, "size=12k")
        send = f'"$0" -m smtpsetup send --batch {path} --queue never'
        done = shell(mounted, f"{send}; {send} --on-unknown hold", SMTPSETUP_STATE_DIR=str(state))
    assert done.code in (0, 74), done.err
    assert len(set(server.message_ids)) == len(server.message_ids)
    assert "may have arrived" not in done.err


@pytest.mark.parametrize("kilobytes", [8, 12, 16])
def test_a_batch_without_room_for_its_journal_stops_and_says_so(home: Home, kilobytes: int) -> None:
    batch = batch_file(home, *(f"m{number}" for number in range(400)))
    state = home.path / "state"
    with RecordingServer() as server:
        plain_account(home, server.port)
        run = own_mount(home, state, f"size={kilobytes}k").run("send", "--batch", batch, SMTPSETUP_STATE_DIR=str(state))
    assert run.code == 74, run.err
    shown = " ".join(run.err.split())
    assert re.search("no space|disk is full", shown), run.err
    assert "connection" not in shown, run.err
    assert len(set(server.message_ids)) == len(server.message_ids)


def test_an_unwritable_note_is_reported_by_what_the_server_has_done() -> None:
    from smtpsetup.core.errors import SmtpsetupError  # as below
    from smtpsetup.message.delivery import Delivery
    from tests.adapters.test_submit import opened

    def full() -> None:
        raise OSError(28, "No space left on device", "/state/journal")

    causes = []
    for place, reply in (("before_dot", None), ("accepted", None), ("not_accepted", b"554 5.7.1 spam\r\n")):

        def answer(turn: Turn, reply: bytes | None = reply) -> bytes | None:
            return reply if turn.verb == "." else None

        with MailServer(answer) as server, opened(server.port) as session:
            plain = Delivery(Envelope("i@example.com", ("a@example.com",)), from_bytes(b"Subject: x\r\n\r\nx\r\n"))
            changed: dict[str, Any] = {place: full}
            delivery = plain._replace(**changed)
            with pytest.raises(SmtpsetupError) as caught:
                list(session.deliver_all(iter([delivery]), lockstep=False))
            causes.append(caught.value.causes[0])
            assert (caught.value.exit_code, len(server.mails)) == (74, int(place == "accepted"))
    assert "was not sent" in causes[0]
    assert "has taken this mail" in causes[1]
    assert "has refused this mail, and said: 554 5.7.1 spam" in causes[2]


def test_an_outbox_on_a_full_disk_is_listed(home: Home) -> None:
    state = home.path / "full"
    script = (
        'cd "$SMTPSETUP_STATE_DIR" && "$0" -m smtpsetup send kund@example.com --body x --queue always 2>/dev/null; '
        "cat /dev/zero > fill 2>/dev/null; rm -f outbox.reserve; cat /dev/zero > more 2>/dev/null; "
        '"$0" -m smtpsetup outbox list --json'
    )
    plain_account(home, 1)
    done = shell(own_mount(home.unmeasured, state, "size=3m"), script, SMTPSETUP_STATE_DIR=str(state))
    assert (done.code, '"kund@example.com"' in done.out) == (0, True), done.err


@pytest.mark.parametrize("queue", ["always", "on-failure"])
def test_with_a_read_only_state_directory_a_queued_mail_is_saved_elsewhere(home: Home, queue: str) -> None:
    state = home.path / "state"
    with closed_port() as closed:
        plain_account(home, closed)
        run = own_mount(home, state, "ro").run(
            "send", "kund@example.com", "--body", "x", "--queue", queue, SMTPSETUP_STATE_DIR=str(state)
        )
    assert run.code == 74
    saved = re.search(r"< *(\S+\.eml)", " ".join(run.err.split()))
    assert saved, run.err
    assert b"kund@example.com" in Path(saved[1]).read_bytes()


def test_with_a_read_only_state_directory_mail_is_sent(home: Home) -> None:
    state = home.path / "state"
    with RecordingServer() as server:
        plain_account(home, server.port)
        run = own_mount(home, state, "ro").run(
            "send", "kund@example.com", "--body", "x", SMTPSETUP_STATE_DIR=str(state)
        )
    assert (run.code, run.err) == (0, "")
    assert len(server.mails) == 1


@pytest.mark.parametrize("command", ["flush", "repair"])
def test_a_read_only_state_directory_is_reported(home: Home, command: str) -> None:
    plain_account(home, 1)
    state = home.path / "state"
    run = own_mount(home, state, "ro").run("outbox", command, SMTPSETUP_STATE_DIR=str(state))
    assert run.code == 74
    assert str(state) in " ".join(run.err.split())


def test_an_outbox_on_a_read_only_disk_is_listed(home: Home) -> None:
    with closed_port() as port:
        plain_account(home, port)
        for number in range(3):
            assert home.run("send", "kund@example.com", "-s", str(number), "--body", "x").code == 0
    state = home.path / "state"
    mounted = own_mount(home, state, "size=9m")
    copy = f'cp -a {state_dir(home)}/. {state}/ && mount -o remount,ro {state} && exec "$@"'
    mounted = replace(mounted, prefix=(*mounted.prefix, "sh", "-c", copy, "sh"))
    before = home.run("outbox", "list", "--json").json["result"]
    listed = mounted.run("outbox", "list", "--json", SMTPSETUP_STATE_DIR=str(state))
    assert (listed.code, listed.json["result"]) == (0, before)
    shown = mounted.run("outbox", "show", "2", SMTPSETUP_STATE_DIR=str(state))
    assert (shown.code, "Subject: 1" in shown.out) == (0, True)
    assert mounted.run("outbox", "flush", SMTPSETUP_STATE_DIR=str(state)).code == 74


def test_a_missing_outbox_on_a_read_only_disk_is_an_empty_list(home: Home) -> None:
    state = home.path / "state"
    listed = own_mount(home, state, "ro").run("outbox", "list", "--json", SMTPSETUP_STATE_DIR=str(state))
    assert (listed.code, listed.json["result"]) == (0, [])
