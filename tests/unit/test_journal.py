"""What a run over many mails has done, however it ended."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from smtpsetup.journal import BusyError, Journal


def begun(directory: Path, identity: str = "batch /x") -> Journal:
    return Journal(str(directory), identity)


def test_what_was_done_is_known_to_the_next_run(tmp_path: Path) -> None:
    with begun(tmp_path) as journal:
        assert not journal.is_resumed
        for key in ("done", "dotted", "refused"):
            journal.mark_dotted(key)
        journal.mark_done("done")
        journal.mark_not_sent("refused")
    with begun(tmp_path) as journal:
        assert journal.is_resumed
        assert [journal.is_done(key) for key in ("done", "dotted", "refused", "new")] == [True, False, False, False]
        assert [journal.is_unknown(key) for key in ("done", "dotted", "refused", "new")] == [False, True, False, False]


def test_message_ids_are_the_same_in_every_run_and_different_for_every_mail(tmp_path: Path) -> None:
    with begun(tmp_path) as journal:
        first = [journal.message_id(key, "example.com") for key in ("a", "b")]
    with begun(tmp_path) as journal:
        assert [journal.message_id(key, "example.com") for key in ("a", "b")] == first
    with begun(tmp_path, "batch /y") as other:
        assert other.message_id("a", "example.com") not in first
    assert len(set(first)) == 2
    assert all(identity.startswith("<") and identity.endswith("@example.com>") for identity in first)


def test_a_domain_that_is_an_address_literal_stays_a_message_id(tmp_path: Path) -> None:
    with begun(tmp_path) as journal:
        assert journal.message_id("a", "[192.0.2.1]").endswith("@192.0.2.1>")


def test_every_length_of_a_torn_journal_is_a_journal_of_what_is_whole(tmp_path: Path) -> None:
    with begun(tmp_path) as journal:
        identity = journal.message_id("a", "example.com")
        for key in ("a", "b"):
            journal.mark_dotted(key)
            journal.mark_done(key)
        path = Path(journal.path)
    content = path.read_bytes()
    ends = [position + 1 for position, byte in enumerate(content) if byte == ord("\n")]
    for length in range(len(content)):
        path.write_bytes(content[:length])
        whole = sum(length >= end - 1 for end in ends)  # a line that lacks only its end is read
        with begun(tmp_path) as journal:
            assert (journal.is_unknown("a"), journal.is_done("a")) == (whole == 2, whole >= 3), length
            assert (journal.is_unknown("b"), journal.is_done("b")) == (whole == 4, whole >= 5), length
            assert whole == 0 or journal.message_id("a", "example.com") == identity
            journal.mark_done("c")
        with begun(tmp_path) as journal:
            assert journal.is_done("c"), length  # what is written behind a torn line is read


@pytest.mark.parametrize(
    "rubbish", [b"\0" * 4096, b"5\n", b"[1]\n", b'"key"\n', b"null\n", b'{"key": "a"}\n', b"{}\n", b"\xff\xfe\n", b'{"key": [], "state": 1}\n']
)
def test_a_line_that_is_no_entry_is_passed_over(tmp_path: Path, rubbish: bytes) -> None:
    with begun(tmp_path) as journal:
        journal.mark_done("a")
        path = Path(journal.path)
    with path.open("ab") as file:
        file.write(rubbish)
    with begun(tmp_path) as journal:
        assert journal.is_done("a")
        journal.mark_done("b")
    with begun(tmp_path) as journal:
        assert journal.is_done("b")


def test_a_restart_forgets_what_was_done_and_gives_new_message_ids(tmp_path: Path) -> None:
    with begun(tmp_path) as journal:
        journal.mark_done("a")
        before = journal.message_id("a", "example.com")
        journal.restart()
        assert not journal.is_resumed
        after = journal.message_id("a", "example.com")
        journal.mark_done("b")
    with begun(tmp_path) as journal:
        assert (journal.is_done("a"), journal.is_done("b")) == (False, True)
        assert journal.message_id("a", "example.com") == after != before


def test_a_journal_that_is_forgotten_is_gone(tmp_path: Path) -> None:
    with begun(tmp_path) as journal:
        journal.mark_done("a")
        journal.forget()
    assert not os.path.exists(journal.path)
    with begun(tmp_path) as journal:
        assert not journal.is_resumed


def test_nobody_else_may_read_a_journal(tmp_path: Path) -> None:
    with begun(tmp_path / "state") as journal:
        assert Path(journal.path).stat().st_mode & 0o777 == 0o600
        assert Path(journal.path).parent.stat().st_mode & 0o777 == 0o700


def test_two_at_the_same_mails_is_one_too_many(tmp_path: Path) -> None:
    with begun(tmp_path), begun(tmp_path, "batch /y"), pytest.raises(BusyError):
        begun(tmp_path)
    with begun(tmp_path):
        pass


HOLDER = "import sys; from smtpsetup.journal import Journal; j = Journal(sys.argv[1], 'batch /x'); print('held', flush=True); sys.stdin.read()"


def test_a_process_that_was_killed_holds_no_journal(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(BusyError):
            begun(tmp_path)
        holder.kill()
    with begun(tmp_path):
        pass


def test_who_waited_at_the_door_of_a_journal_that_was_forgotten_begins_a_new_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = begun(tmp_path)
    first.mark_done("a")
    hold = Journal._hold

    def end_of_the_first_run(journal: Journal) -> None:
        """The other run ends after this one has opened the file and before it holds it."""
        monkeypatch.setattr(Journal, "_hold", hold)
        first.forget()
        first.__exit__()
        hold(journal)

    monkeypatch.setattr(Journal, "_hold", end_of_the_first_run)
    with begun(tmp_path) as journal:
        journal.mark_done("b")
    with begun(tmp_path) as journal:
        assert journal.is_done("b")
