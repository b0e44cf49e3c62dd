"""A PostgreSQL of its own, from Debian's package, with a database for each test."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from smtpsetup.config.outbox_settings import OutboxSettings
from smtpsetup.outbox.errors import SharedOutboxError, Trouble
from smtpsetup.outbox.postgresql import schema
from smtpsetup.outbox.postgresql.connection import Connection
from tests.servers import free_port, missing, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

MISSING = "needs PostgreSQL: apt-get install postgresql"
_SETTINGS = (
    "listen_addresses = '127.0.0.1'",
    "max_connections = 200",
    "shared_buffers = '128MB'",
    "log_min_messages = warning",
    "lc_messages = 'C'",
)


def binaries() -> Path | None:
    """The directory of the server's programs, of the newest version."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else None


@dataclass
class Cluster:
    """A running server: its data, its port and the directory of its socket."""

    base: Path
    port: int
    process: subprocess.Popen[bytes] | None = None
    databases: int = 0
    is_standby: bool = False

    def url(self, database: str = "postgres", *, user: str = "postgres") -> str:
        """The URL of a database, over loopback."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def as_owner(self, *command: str) -> list[str]:
        """A command as the user who owns the data: the server refuses to run as root."""
        if os.getuid() != 0:
            return [*command]
        return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", *command]

    def start(self) -> None:
        """Start the server and wait until it answers."""
        programs = binaries()
        assert programs
        with (self.base / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self.as_owner(str(programs / "postgres"), "-D", str(self.base / "data"), "-p", str(self.port),
                              "-k", str(self.base)),
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        wait_for(self._answers)

    def _answers(self) -> bool:
        try:
            Connection(OutboxSettings(self.url()), needs_tables=False).close()
        except SharedOutboxError as error:
            assert self.process
            assert self.process.poll() is None, (self.base / "log").read_text()[-2000:]
            return error.trouble is Trouble.LOGIN or (self.is_standby and error.trouble is Trouble.READ_ONLY)
        return True

    def stop(self, number: int = signal.SIGINT) -> None:
        """Stop it: SIGINT is fast, SIGQUIT immediate, as in a crash."""
        assert self.process
        self.process.send_signal(number)
        self.process.wait(60)

    def crash(self) -> None:
        """End it as a power cut does, and start it again."""
        self.stop(signal.SIGQUIT)
        self.start()

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """Execute a statement as the owner."""
        db = Connection(OutboxSettings(self.url(database)), needs_tables=False)
        try:
            with db.raw.cursor() as cursor:
                cursor.execute(statement.encode())
                return cursor.fetchall() if cursor.description else []
        finally:
            db.close()

    def database(self, *, has_tables: bool = True) -> OutboxSettings:
        """A new database."""
        self.databases += 1
        name = f"mail{self.databases}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'")
        settings = OutboxSettings(self.url(name))
        if has_tables:
            db = Connection(settings, needs_tables=False)
            schema.initialize(db)
            db.close()
        return settings


@contextmanager
def running(*extra: str) -> Iterator[Cluster]:
    """A server until the end of the block, with these lines more in its configuration."""
    programs = binaries()
    if programs is None or shutil.which("setpriv") is None:
        missing(MISSING)
        raise AssertionError
    with tempfile.TemporaryDirectory(prefix="smtpsetup-postgresql-") as name:
        base = Path(name)
        cluster = Cluster(base, free_port())
        if os.getuid() == 0:
            shutil.chown(base, "postgres")
        subprocess.run(
            cluster.as_owner(str(programs / "initdb"), "-D", str(base / "data"), "-U", "postgres", "--auth=trust",
                             "--no-sync", "--encoding=UTF8", "--locale=C"),
            check=True, capture_output=True, cwd="/",
        )  # fmt: skip
        with (base / "data" / "postgresql.conf").open("a") as file:
            file.write("\n".join((*_SETTINGS, *extra)) + "\n")
        cluster.start()
        try:
            yield cluster
        finally:
            if cluster.process and cluster.process.poll() is None:
                cluster.stop()


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A server for all tests of this process."""
    with running("fsync = off") as started:
        yield started


@pytest.fixture
def shared(cluster: Cluster) -> OutboxSettings:
    """A new shared outbox."""
    return cluster.database()
