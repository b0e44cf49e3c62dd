"""A database server that takes no more mail: its disk is full, or it is a standby."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from smtpsetup.config.outbox_settings import OutboxSettings
from smtpsetup.outbox.errors import SharedOutboxError, Trouble
from smtpsetup.outbox.postgresql.connection import Connection
from smtpsetup.outbox.sqlite.store import SqliteOutbox
from tests.postgresql import Cluster, binaries, running
from tests.recording import RecordingServer, plain_account
from tests.servers import free_port, missing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Home


@contextmanager
def small_disk(cluster: Cluster) -> Iterator[Path]:
    """A directory on a disk of 40 MB that belongs to the server."""
    if os.getuid() != 0:
        missing("needs root, to mount a disk")
    with tempfile.TemporaryDirectory(prefix="smtpsetup-disk-", dir=cluster.base) as name:
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", name], check=False)
        if mounted.returncode:
            missing("needs the right to mount a disk")
        try:
            place = Path(name) / "space"
            place.mkdir(mode=0o700)
            shutil.chown(place, "postgres")
            yield place
        finally:
            subprocess.run(["umount", "--lazy", name], check=True)


def test_mail_that_finds_the_disk_of_the_database_full_is_kept_here(home: Home) -> None:
    with running() as cluster, small_disk(cluster) as place, RecordingServer() as server:
        cluster.execute(f"CREATE TABLESPACE small LOCATION '{place}'")
        settings = cluster.database(has_tables=False)
        cluster.execute(f"ALTER DATABASE {settings.url.rpartition('/')[2]} SET TABLESPACE small")
        plain_account(home, server.port)
        home.config.write_text(f'outbox = "{settings.url}"\n{home.config.read_text()}')
        assert home.run("outbox", "init").code == 0
        home.file("large.bin", os.urandom(4_000_000))
        errs = ""
        for number in range(12):
            run = home.run("send", f"k{number}@example.com", "--attach", "large.bin", "--queue", "always")
            assert run.code == 0, run.err
            errs += " ".join(run.err.split())
        assert "No space left" in errs
        with SqliteOutbox(str(home.path / ".local/state/smtpsetup")) as box:
            here = len(box.mails())
        assert 0 < here < 12
        run = home.run("outbox", "flush", "--json")
        assert (run.code, run.json["error"]["code"]) == (75, "outbox.unavailable")
        assert "disk of the database" in run.json["error"]["hints"][0]
        subprocess.run(["mount", "-o", "remount,size=400m", str(place.parent)], check=True)
        assert home.run("outbox", "flush", "--now", "--json").json["result"]["sent"] == 12
        assert sorted({mail.recipients[0] for mail in server.mails}) == sorted(f"k{n}@example.com" for n in range(12))
        assert len(server.mails) == 12


def test_a_standby_is_told_and_takes_mail_once_it_is_promoted() -> None:
    with running() as primary:
        settings = primary.database()
        programs = binaries()
        assert programs
        base = Path(tempfile.mkdtemp(prefix="smtpsetup-standby-", dir=primary.base))
        if os.getuid() == 0:
            shutil.chown(base, "postgres")
        with (primary.base / "data" / "pg_hba.conf").open("a") as file:
            file.write("local replication all trust\nhost replication all 127.0.0.1/32 trust\n")
        primary.execute("SELECT pg_reload_conf()")
        subprocess.run(
            primary.as_owner(str(programs / "pg_basebackup"), "-h", "127.0.0.1", "-p", str(primary.port), "-U",
                             "postgres", "-D", str(base / "data"), "-R", "--checkpoint=fast"),
            check=True, capture_output=True, cwd="/",
        )  # fmt: skip
        standby = Cluster(base, free_port(), is_standby=True)
        standby.start()
        try:
            there = settings._replace(url=settings.url.replace(f":{primary.port}/", f":{standby.port}/"))
            with pytest.raises(SharedOutboxError, match="replica") as caught:
                Connection(there)
            assert caught.value.trouble is Trouble.READ_ONLY
            assert "read-write" in caught.value.explained().hints[0]
            both = OutboxSettings(
                f"postgresql://postgres@127.0.0.1:{standby.port},127.0.0.1:{primary.port}/mail1"
                "?target_session_attrs=read-write"
            )
            Connection(both).close()
            primary.stop(signal.SIGQUIT)
            subprocess.run(
                standby.as_owner(str(programs / "pg_ctl"), "promote", "-w", "-D", str(base / "data")),
                check=True, capture_output=True, cwd="/",
            )  # fmt: skip
            Connection(both).close()
        finally:
            standby.stop()
