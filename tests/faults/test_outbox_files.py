"""A damaged outbox says so and is saved as far as it can be read.

A mail that cannot be kept there is in a file that is named.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import sqlite3
import subprocess
import sys
from dataclasses import replace
from email import message_from_bytes, policy
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from smtpsetup.outbox.store import Outbox
from tests.recording import RecordingServer, new_mail, plain_account, state_dir
from tests.servers import closed_port, missing

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Home, Run
    from tests.mail_server import Caught

MAILS = 60
PAGE = 4096
SEED = 20261124
ZEROS, NOISE = b"\0", b"\xa5"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An outbox as a process leaves it that is killed: half of its mails in outbox.db, the others in the WAL."""
    directory = tmp_path_factory.mktemp("sound")
    copy = tmp_path_factory.mktemp("copy")
    with Outbox(str(directory)) as box:
        for number in range(MAILS):
            box.add(new_mail(number))
            if number == MAILS // 2:
                box.tidy()
        shutil.copytree(directory, copy, dirs_exist_ok=True)
    (copy / "outbox.db-shm").unlink()
    assert (copy / "outbox.db-wal").stat().st_size > 20 * PAGE
    return copy


@pytest.fixture(scope="module")
def at_rest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An outbox that nobody uses at the moment: all of it is in outbox.db."""
    directory = tmp_path_factory.mktemp("rest")
    with Outbox(str(directory)) as box:
        for number in range(MAILS):
            box.add(new_mail(number))
    return directory


def damaged(home: Home, source: Path, damage: Callable[[Path], object]) -> Path:
    """A copy of an outbox in this home, damaged."""
    directory = Path(state_dir(home))
    shutil.rmtree(directory, ignore_errors=True)
    shutil.copytree(source, directory)
    damage(directory / "outbox.db")
    return directory


def overwrite(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def assert_damage_is_reported(run: Run) -> None:
    """It works, or it says what is wrong and that it can be repaired; never that smtpsetup has a bug."""
    assert run.code in (0, 74), (run.code, run.err)
    assert not re.search(r"internal\.bug|Traceback|mistake in smtpsetup", run.err), run.err
    if run.code == 74:
        assert "smtpsetup outbox repair" in run.err, run.err


def assert_repairable(home: Home, *, at_most_lost: int = MAILS, is_rest_counted: bool = True) -> int:
    """`list` tells, `repair` saves and counts, and then everything works again; how many mails were saved."""
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
    if is_rest_counted:
        assert result["lost"] is None or result["saved"] + result["lost"] >= MAILS, result
    return len(numbers)


@pytest.mark.matrix
@pytest.mark.parametrize("part", range(1, 12))
def test_a_truncated_outbox_is_reported_and_repaired(home: Home, at_rest: Path, part: int) -> None:
    size = (at_rest / "outbox.db").stat().st_size
    offset = size * part // 12 + part % 3  # at a page's border and inside a page
    damaged(home, at_rest, lambda path: os.truncate(path, offset))
    assert_repairable(home, is_rest_counted=False)


@pytest.mark.matrix
@pytest.mark.parametrize("offset", [1, 15, 16, 40, 60, 99, 100, 101, 511, 512, 1024, 4095, 4096])
def test_an_outbox_cut_to_its_first_bytes_is_reported(home: Home, at_rest: Path, offset: int) -> None:
    damaged(home, at_rest, lambda path: os.truncate(path, offset))
    assert_repairable(home, is_rest_counted=False)


@pytest.mark.matrix
@pytest.mark.parametrize("filling", [ZEROS, NOISE])
@pytest.mark.parametrize("length", [16, 100, PAGE])
def test_an_outbox_without_its_header_is_repaired_and_its_losses_counted(
    home: Home, at_rest: Path, length: int, filling: bytes
) -> None:
    damaged(home, at_rest, lambda path: overwrite(path, 0, filling * length))
    assert_repairable(home)


@pytest.mark.matrix
@pytest.mark.parametrize("filling", [ZEROS, NOISE])
@pytest.mark.parametrize("page", range(1, 10))
def test_a_missing_page_is_reported_and_its_losses_counted(
    home: Home, at_rest: Path, page: int, filling: bytes
) -> None:
    damaged(home, at_rest, lambda path: overwrite(path, page * PAGE, filling * PAGE))
    assert_repairable(home)


@pytest.mark.matrix
@pytest.mark.parametrize("attempt", range(12))
def test_flipped_bytes_are_reported_as_damage(home: Home, at_rest: Path, attempt: int) -> None:
    source = random.Random(f"{SEED} {attempt}")
    size = (at_rest / "outbox.db").stat().st_size

    def flip(path: Path) -> None:
        for _flip in range(40):
            overwrite(path, source.randrange(100, size), source.randbytes(1))

    damaged(home, at_rest, flip)
    assert_repairable(home, is_rest_counted=False)
    flushed = home.run("outbox", "flush")
    assert flushed.code != 1, (SEED, flushed.err)


def test_an_invalid_row_is_reported_as_damage(home: Home, at_rest: Path) -> None:
    def spoil(path: Path) -> None:
        content = path.read_bytes()
        path.write_bytes(content.replace(b'["kund@example.com"]', b'["kund@example.com"?', 1))

    damaged(home, at_rest, spoil)
    assert assert_repairable(home) == MAILS - 1


def test_a_mail_without_its_content_is_reported_as_damage(home: Home, at_rest: Path) -> None:
    def spoil(path: Path) -> None:
        db = sqlite3.connect(path)
        db.execute("DELETE FROM content WHERE id = 7")
        db.commit()
        db.close()

    damaged(home, at_rest, spoil)
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


@pytest.mark.matrix
@pytest.mark.parametrize("offset", [0, 1, 31, 32, 33, 55, 56, 57, 2000, 4152, 4153, 50_000, 90_001])
def test_a_truncated_wal_loses_only_what_was_behind_the_cut(home: Home, sound: Path, offset: int) -> None:
    damaged(home, sound, lambda path: os.truncate(f"{path}-wal", offset))
    assert_wal_damage_is_reported(home)


@pytest.mark.matrix
@pytest.mark.parametrize("offset", [0, 16, 32, 40, 48, 56, 300, 4152, 20_000])
def test_a_wal_with_a_wrong_byte_loses_only_what_was_behind_it(home: Home, sound: Path, offset: int) -> None:
    damaged(home, sound, lambda path: overwrite(Path(f"{path}-wal"), offset, NOISE))
    assert_wal_damage_is_reported(home)


def test_an_outbox_left_by_a_killed_process_is_complete(home: Home, sound: Path) -> None:
    damaged(home, sound, lambda _path: None)
    assert len(home.run("outbox", "list", "--json").json["result"]) == MAILS


@pytest.mark.parametrize(
    "spoil",
    [lambda path: path.write_bytes(b"no database" * 1000), lambda path: os.truncate(path, 3 * PAGE + 7)],
    ids=["overwritten", "cut"],
)
def test_commands_on_a_damaged_outbox_suggest_the_repair(
    home: Home, at_rest: Path, spoil: Callable[[Path], object]
) -> None:
    damaged(home, at_rest, spoil)
    plain_account(home, 1)
    for command in (("list",), ("flush",), ("show", "1"), ("retry", "--all"), ("drop", "--all")):
        assert_damage_is_reported(home.run("outbox", *command))


# what cannot be kept is saved

BODY = "First line\n.\n.two\nlast\n"  # a line that ends a message for a sendmail that is not told to ignore dots
RECIPIENTS = ("a@example.com", "Å Ä <b@exämple.com>", "c@example.com")
ENVELOPE = {"a@example.com", "b@xn--exmple-cua.com", "c@example.com", "hidden@example.com"}


def send_what_cannot_be_kept(home: Home, *extra: str, **env: str) -> Run:
    home.file("report.bin", bytes(range(256)) * 400)
    arguments = [argument for name in RECIPIENTS for argument in ("--to", name)]
    more = ("--bcc", "hidden@example.com", "--attach", "report.bin", "-s", "Räkning", "--body", BODY)
    return home.run("send", *arguments, *more, *extra, **env)


def saved_file(run: Run) -> Path:
    """The file that the error names."""
    assert run.code == 74, (run.code, run.err)
    match = re.search(r"smtpsetup-sendmail [^`\n]*<\s+(\S+\.eml)", " ".join(run.err.split()))
    assert match, run.err
    path = Path(match[1])
    assert path.stat().st_mode & 0o777 == 0o600
    return path


def assert_whole(content: bytes) -> None:
    message = message_from_bytes(content, policy=policy.default)
    text = message.get_body(("plain",))
    assert text is not None
    assert str(text.get_content()).replace("\r\n", "\n") == BODY
    assert [part.get_content() for part in message.iter_attachments()] == [bytes(range(256)) * 400]
    assert message["Subject"] == "Räkning"


def sent_from_file(home: Home, run: Run) -> Caught:
    """Do what the error's hint says; what arrived."""
    hint = re.search(r"`smtpsetup-sendmail ([^`<]*)< *(\S+?)`", " ".join(run.err.split()))
    assert hint, run.err
    with RecordingServer() as server, Path(hint[2]).open("rb") as file:
        plain_account(home, server.port)
        code = "import sys; from smtpsetup.sendmail.main import main; main()"
        subprocess.run(
            [sys.executable, "-c", code, *hint[1].split()],
            env=home.env,
            cwd=home.path,
            stdin=file,
            check=True,
            timeout=60,
        )
    assert len(server.mails) == 1
    return server.mails[0]


@pytest.mark.parametrize("queue", ["always", "on-failure"])
@pytest.mark.parametrize("obstacle", ["damaged", "a file"])
def test_a_mail_that_cannot_be_queued_is_saved_to_a_file_and_sent_from_there(
    home: Home, obstacle: str, queue: str
) -> None:
    directory = Path(state_dir(home))
    directory.parent.mkdir(parents=True)
    if obstacle == "damaged":
        directory.mkdir()
        (directory / "outbox.db").write_bytes(NOISE * 9000)
    else:
        directory.write_bytes(b"")
    with closed_port() as nobody:
        plain_account(home, nobody)
        run = send_what_cannot_be_kept(home, "--queue", queue)
    assert_whole(saved_file(run).read_bytes())
    if obstacle == "damaged":
        assert "smtpsetup outbox repair" in run.err
    else:
        directory.unlink()
    arrival = sent_from_file(home, run)
    assert set(arrival.recipients) == ENVELOPE
    assert b"hidden@example.com" not in arrival.content
    assert_whole(arrival.content)


@pytest.mark.matrix
@pytest.mark.parametrize("kilobytes", [8, 40, 100, 132])
def test_a_mail_that_a_full_disk_cannot_queue_is_saved_elsewhere(home: Home, tmp_path: Path, kilobytes: int) -> None:
    if (
        not shutil.which("unshare")
        or subprocess.run(["unshare", "-Um", "true"], check=False, capture_output=True).returncode
    ):
        missing("needs user and mount namespaces: apt-get install util-linux")
    full = tmp_path / "full"
    full.mkdir()
    mounted = f'mount -t tmpfs -o size={kilobytes}k none {full} && exec "$@"'
    with closed_port() as nobody:
        plain_account(home, nobody)
        run = send_what_cannot_be_kept(
            replace(home, prefix=("unshare", "-Urm", "sh", "-c", mounted, "sh")),
            "--queue",
            "always",
            SMTPSETUP_STATE_DIR=str(full),
        )
    path = saved_file(run)
    assert not path.is_relative_to(full)
    assert_whole(path.read_bytes())
    assert set(sent_from_file(home, run).recipients) == ENVELOPE


def test_a_mail_that_cannot_be_saved_anywhere_is_reported_lost(home: Home) -> None:
    plain_account(home, 1)
    run = send_what_cannot_be_kept(replace(home, disk_is_full=True), "--queue", "always")
    assert run.code == 74
    assert "It is not saved anywhere else" in " ".join(run.err.split())


def test_the_hint_quotes_a_path_with_a_space(home: Home) -> None:
    odd = home.path / "my state"
    odd.mkdir()
    (odd / "outbox.db").write_bytes(NOISE * 9000)
    plain_account(home, 1)
    run = send_what_cannot_be_kept(home, "--queue", "always", SMTPSETUP_STATE_DIR=str(odd))
    assert run.code == 74
    hint = re.search(r"`(smtpsetup-sendmail [^`]*)`", " ".join(run.err.split()))
    assert hint
    with RecordingServer() as server:
        plain_account(home, server.port)
        path = f"{Path(sys.executable).parent}:{home.env['PATH']}"
        subprocess.run(["sh", "-c", hint[1]], env={**home.env, "PATH": path}, cwd=home.path, check=True, timeout=60)
    assert_whole(server.mails[0].content)
