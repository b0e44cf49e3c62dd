"""A damaged outbox is reported, and the repair saves what can be read and counts what is lost."""

from __future__ import annotations

import contextlib
import os
import random
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from smtpsetup.outbox.mail import NewMail
from smtpsetup.outbox.mail_state import MailState
from smtpsetup.outbox.sqlite.repair import repair
from smtpsetup.outbox.sqlite.store import SqliteOutbox
from tests.faults.outboxes import NO_DATABASE, PAGE, copied, execute, filled, left_by_a_kill, overwrite
from tests.faults.processes import killed_before_statement
from tests.recording import RecordingServer, new_mail, plain_account, state_dir
from tests.sendmail import kept

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Home, Run


MAILS = 60
SEED = 20261124
ZEROS, NOISE = b"\0", b"\xa5"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An outbox as a killed process leaves it: half of its mails in outbox.db, the others in the WAL."""
    directory = left_by_a_kill(tmp_path_factory.mktemp("killed"), MAILS, checkpoint_after=MAILS // 2)
    assert (directory / "outbox.db-wal").stat().st_size > 20 * PAGE
    return directory


@pytest.fixture(scope="module")
def at_rest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An outbox that no process uses."""
    return filled(tmp_path_factory.mktemp("rest"), MAILS)


def damaged(home: Home, source: Path, damage: Callable[[Path], object]) -> None:
    """Put a copy of an outbox into this home, and damage it."""
    damage(copied(home, source) / "outbox.db")


def assert_damage_is_reported(run: Run) -> None:
    """The command succeeds, or reports the damage and the repair; it never reports a bug in smtpsetup."""
    assert run.code in (0, 74), (run.code, run.err)
    assert not re.search(r"internal\.bug|Traceback|mistake in smtpsetup", run.err), run.err
    if run.code == 74:
        assert "smtpsetup outbox repair" in run.err, run.err


def assert_repairable(home: Home, *, at_most_lost: int = MAILS, are_losses_counted: bool = True) -> int:
    """Assert that `list` reports the damage, and that the outbox works after `repair`. Returns how many it saved."""
    plain_account(home, 1)
    listed = home.run("outbox", "list", "--json")
    assert_damage_is_reported(listed)
    repaired = home.run("outbox", "repair", "--json")
    result = repaired.json["result"]
    assert repaired.code == (0 if result["lost"] == 0 else 74), repaired.err
    again = home.run("outbox", "list", "--json")
    assert again.code == 0, again.err
    numbers = [mail["outbox_id"] for mail in again.json["result"]]
    assert len(set(numbers)) == len(numbers)
    for number in numbers[-1:]:
        assert home.run("outbox", "show", str(number)).code == 0
    if result["damaged_file"] is None:  # it is sound, so that what was listed is what there is
        assert listed.code == 0
        return len(numbers)
    assert len(numbers) == result["saved"]
    assert os.path.exists(result["damaged_file"])
    assert result["lost"] is None or result["lost"] <= at_most_lost
    if are_losses_counted:
        assert result["lost"] is None or result["saved"] + result["lost"] >= MAILS, result
    return len(numbers)


@pytest.mark.parametrize("part", range(1, 12))
def test_a_truncated_outbox_is_reported_and_repaired(home: Home, at_rest: Path, part: int) -> None:
    size = (at_rest / "outbox.db").stat().st_size
    offset = size * part // 12 + part % 3  # at a page's border and inside a page
    damaged(home, at_rest, lambda path: os.truncate(path, offset))
    assert_repairable(home, are_losses_counted=False)


@pytest.mark.parametrize("offset", [1, 15, 16, 40, 60, 99, 100, 101, 511, 512, 1024, 4095, 4096])
def test_an_outbox_cut_to_its_first_bytes_is_reported(home: Home, at_rest: Path, offset: int) -> None:
    damaged(home, at_rest, lambda path: os.truncate(path, offset))
    assert_repairable(home, are_losses_counted=False)


@pytest.mark.parametrize("filling", [ZEROS, NOISE])
@pytest.mark.parametrize("length", [16, 100, PAGE])
def test_an_outbox_without_its_header_is_repaired_and_its_losses_counted(
    home: Home, at_rest: Path, length: int, filling: bytes
) -> None:
    damaged(home, at_rest, lambda path: overwrite(path, 0, filling * length))
    assert_repairable(home)


@pytest.mark.parametrize("filling", [ZEROS, NOISE])
@pytest.mark.parametrize("page", range(1, 10))
def test_a_missing_page_is_reported_and_its_losses_counted(
    home: Home, at_rest: Path, page: int, filling: bytes
) -> None:
    damaged(home, at_rest, lambda path: overwrite(path, page * PAGE, filling * PAGE))
    assert_repairable(home)


@pytest.mark.parametrize("attempt", range(12))
def test_flipped_bytes_are_reported_as_damage(home: Home, at_rest: Path, attempt: int) -> None:
    source = random.Random(f"{SEED} {attempt}")
    size = (at_rest / "outbox.db").stat().st_size

    def flip(path: Path) -> None:
        for _flip in range(40):
            overwrite(path, source.randrange(100, size), source.randbytes(1))

    damaged(home, at_rest, flip)
    # a flipped number of a mail in one of the tables is counted as one more
    assert_repairable(home, at_most_lost=MAILS + 40, are_losses_counted=False)
    flushed = home.run("outbox", "flush")
    assert flushed.code != 1, (SEED, flushed.err)


def test_an_invalid_row_is_reported_as_damage(home: Home, at_rest: Path) -> None:
    def spoil(path: Path) -> None:
        content = path.read_bytes()
        path.write_bytes(content.replace(b'["kund@example.com"]', b'["kund@example.com"?', 1))

    damaged(home, at_rest, spoil)
    assert assert_repairable(home) == MAILS - 1


def test_a_mail_without_its_content_is_reported_as_damage(home: Home, at_rest: Path) -> None:
    copied(home, at_rest)
    execute(home, "DELETE FROM content WHERE id = 7")
    with RecordingServer() as server:
        plain_account(home, server.port)
        for command in (("list",), ("show", "7"), ("flush",)):
            assert_damage_is_reported(home.run("outbox", *command))
        home.run("outbox", "repair")
        home.run("outbox", "flush")
    assert len(set(server.message_ids)) == MAILS - 1


def assert_wal_damage_is_reported(home: Home) -> None:
    listed = home.run("outbox", "list", "--json")
    assert_damage_is_reported(listed)
    assert home.run("outbox", "repair").code in (0, 74)
    assert len(home.run("outbox", "list", "--json").json["result"]) >= MAILS // 2


@pytest.mark.parametrize("offset", [0, 1, 31, 32, 33, 55, 56, 57, 2000, 4152, 4153, 50_000, 90_001])
def test_a_truncated_wal_loses_only_what_was_behind_the_cut(home: Home, sound: Path, offset: int) -> None:
    damaged(home, sound, lambda path: os.truncate(f"{path}-wal", offset))
    assert_wal_damage_is_reported(home)


@pytest.mark.parametrize("offset", [0, 16, 32, 40, 48, 56, 300, 4152, 20_000])
def test_a_wal_with_a_wrong_byte_loses_only_what_was_behind_it(home: Home, sound: Path, offset: int) -> None:
    damaged(home, sound, lambda path: overwrite(Path(f"{path}-wal"), offset, NOISE))
    assert_wal_damage_is_reported(home)


def test_an_outbox_left_by_a_killed_process_is_complete(home: Home, sound: Path) -> None:
    damaged(home, sound, lambda _path: None)
    assert len(home.run("outbox", "list", "--json").json["result"]) == MAILS


@pytest.mark.parametrize(
    "spoil",
    [lambda path: path.write_bytes(NO_DATABASE), lambda path: os.truncate(path, 3 * PAGE + 7)],
    ids=["overwritten", "cut"],
)
def test_commands_on_a_damaged_outbox_suggest_the_repair(
    home: Home, at_rest: Path, spoil: Callable[[Path], object]
) -> None:
    damaged(home, at_rest, spoil)
    plain_account(home, 1)
    for command in (("list",), ("flush",), ("show", "1"), ("retry", "--all"), ("drop", "--all")):
        assert_damage_is_reported(home.run("outbox", *command))


# the repair itself


@pytest.mark.parametrize("statements", [0, 1, 8, 16, 40, 100, 150])
def test_a_repair_that_is_killed_can_be_run_again(home: Home, statements: int) -> None:
    plain_account(home, 1)
    directory = state_dir(home)
    database = filled(Path(directory), 30) / "outbox.db"
    os.truncate(database, database.stat().st_size - 100)  # the last page is torn: a little is lost at most
    call = "from smtpsetup.outbox.sqlite.repair import repair\nrepair(sys.argv[1])"
    assert killed_before_statement(home, statements, call, directory) == -9
    assert home.run("outbox", "repair").code == 0
    left = home.run("outbox", "list", "--json")
    assert left.code == 0, left.err
    assert len(left.json["result"]) >= 20


ADDED_DURING_REPAIR = """
import os, sys
from smtpsetup.outbox.sqlite.store import SqliteOutbox
from tests.recording import new_mail
with SqliteOutbox(sys.argv[1]) as box:
    print("open", flush=True)
    sys.stdin.readline()
    box.add(new_mail(1000))
"""


def test_a_mail_that_is_queued_while_the_outbox_is_repaired_is_refused_or_kept(home: Home) -> None:
    plain_account(home, 1)
    directory = state_dir(home)
    database = filled(Path(directory), 300) / "outbox.db"
    # in the middle: a process that only adds does not read it
    overwrite(database, database.stat().st_size // 2 // PAGE * PAGE, ZEROS * PAGE)
    adder = [sys.executable, "-c", ADDED_DURING_REPAIR, directory]
    with subprocess.Popen(
        adder, env=home.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == b"open\n"
        with subprocess.Popen(
            [sys.executable, "-m", "smtpsetup", "outbox", "repair"], env=home.env, stdout=subprocess.DEVNULL
        ) as repair:
            with contextlib.suppress(subprocess.TimeoutExpired):  # it may wait for the process that has the outbox open
                repair.wait(3)
            process.communicate(b"\n", timeout=60)
            repair.wait(60)
    listed = {mail["subject"] for mail in home.run("outbox", "list", "--json").json["result"]}
    assert process.returncode != 0 or "1000" in listed


def test_two_repairs_in_the_same_second_keep_both_damaged_files(home: Home) -> None:
    plain_account(home, 1)
    found = set()
    for _time in range(2):
        home.file(".local/state/smtpsetup/outbox.db", NO_DATABASE)
        found.add(home.run("outbox", "repair", "--json").json["result"]["damaged_file"])
    assert len(found) == 2


def queue_held_mail(home: Home, *, is_possible: bool) -> None:
    with SqliteOutbox(state_dir(home)) as box:
        mail = new_mail(1)
        number = box.add(NewMail(*mail[:5], MailState.SENDING, holds=True, lease="dead"))
        box.mark_possibly_delivered(number, is_possible=is_possible)


@pytest.mark.parametrize("is_possible", [True, False])
def test_a_held_mail_that_may_have_arrived_stays_held_through_a_repair(home: Home, *, is_possible: bool) -> None:
    queue_held_mail(home, is_possible=is_possible)
    repair(state_dir(home))
    (mail,) = kept(home)
    expected = (MailState.UNKNOWN, True) if is_possible else (MailState.WAITING, False)
    assert (mail.state, mail.next_attempt is None) == expected
