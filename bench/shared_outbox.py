"""What an outbox in PostgreSQL costs: claims from a long queue, workers, adding and loading, each against a floor.

`SIZE=0.01 python bench/shared_outbox.py [ROW...]`; with SIZE=1, the default, a million mails wait, and it takes a
quarter of an hour. The server is one of its own, with fsync; needs Debian's postgresql. `PLANS=1` prints the plans of
the claims, too.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

from loopback import running as serving
from sending_peers import ready_made
from sending_site import SMTPSETUP, Program, Row, paired, state_dir

from smtpsetup.message.message import Envelope
from smtpsetup.outbox.mail import NewMail
from smtpsetup.outbox.postgresql import due
from smtpsetup.outbox.postgresql.store import NEW_COLUMNS, PostgresqlOutbox
from smtpsetup.outbox.sqlite.store import SqliteOutbox
from tests.messages import from_bytes
from tests.postgresql import Cluster, running
from tests.servers import free_port, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from smtpsetup.config.outbox_settings import OutboxSettings
    from smtpsetup.outbox.mail import Mail

SIZE = float(os.environ.get("SIZE", "1"))
ACCOUNT, ADDRESS, TO = "a", "info@example.test", "kund@example.test"
MANY, FEW = int(1_000_000 * SIZE), 1000  # mails that wait
CLAIMS = max(20, int(1000 * SIZE))
SENT_AT_ONCE = 1000
NEAR_MAILS, FAR_MAILS = max(200, int(8000 * SIZE)), max(100, int(1600 * SIZE))
WORKERS = 4
REPLY_SECONDS = 0.05
PAIRS = max(3, int(20 * SIZE))
LINES = int(100_000 * SIZE)
TEXT = "Faktura för denna månad.\n" * 20
_FILL = f"""
WITH new AS (
    INSERT INTO smtpsetup.mail ({", ".join(NEW_COLUMNS)})
    SELECT '{ACCOUNT}', '', '{ADDRESS}', ARRAY['{TO}'], 'Faktura', '<' || n || '@example.test>',
        octet_length(%s::bytea), %s, true, %s, 'waiting', 0, 0, %s + n * 1e-6, %s, '', '', NULL, false, false, '',
        'bench'
    FROM generate_series(1, %s) AS n RETURNING id
), text AS (INSERT INTO smtpsetup.content SELECT id, 0, %s FROM new)
SELECT count(*), pg_notify('smtpsetup_mail', '') FROM new"""
_SEND = """
WITH gone AS (
    DELETE FROM smtpsetup.mail WHERE id = ANY(%s) RETURNING id, account, recipients, subject, message_id, queued_at
)
INSERT INTO smtpsetup.sent SELECT * FROM gone"""


class Bench(NamedTuple):
    """The server, a directory, and what ends with a row."""

    cluster: Cluster
    base: Path
    stack: ExitStack

    def home(self, name: str, port: int, settings: OutboxSettings | None = None) -> dict[str, str]:
        """A home with the account, as cron gives it: with a shared outbox, or its own."""
        path = self.base / f"home-{name}"
        file = path / ".config" / "smtpsetup" / "config.toml"
        file.parent.mkdir(parents=True)
        top = f"outbox = {json.dumps(settings.url)}\n" if settings else ""
        place = f'address = "{ADDRESS}"\nhost = "127.0.0.1"\nport = {port}\nsecurity = "none"\nauth = "none"\n'
        file.write_text(f"{top}[accounts.{ACCOUNT}]\n{place}")
        file.chmod(0o600)
        return {"HOME": str(path), "LOGNAME": "root", "PATH": "/usr/bin:/bin"}

    def sink(self, seconds: float = 0.0) -> int:
        """The port of a server that accepts everything, each reply after so many seconds."""
        port = free_port()
        self.stack.enter_context(serving("sink", port))
        if seconds:
            far = free_port()
            self.stack.enter_context(serving("delay", far, port, seconds / 2))
            return far
        return port


# claims


def fill(box: PostgresqlOutbox, mails: int) -> None:
    """Let so many mails wait, one behind the other, and announce them."""
    message = from_bytes(ready_made(TO, TEXT).replace(b"\n", b"\r\n"))
    text = b"".join(message.chunks())
    from binascii import crc32

    now = time.time()
    box.database.one(_FILL, (text, len(message.header), crc32(text), now, now, mails, text))


def send(box: PostgresqlOutbox, mails: list[Mail]) -> None:
    """Do to the rows what sending them does."""
    numbers = [mail.id for mail in mails]
    with box.transaction():
        box.database.run("UPDATE smtpsetup.mail SET dotted = true WHERE id = ANY(%s)", (numbers,))
        box.database.run(_SEND, (numbers,))


@contextmanager
def filled(bench: Bench, mails: int) -> Iterator[tuple[PostgresqlOutbox, str]]:
    """An outbox in which so many mails wait, as autovacuum leaves it a minute later, and a lease there."""
    settings = bench.cluster.database()
    with PostgresqlOutbox(settings, "", is_durable=False) as box, box.lease() as lease:
        fill(box, mails)
        box.database.run("VACUUM ANALYZE smtpsetup.mail")
        box.database.run("VACUUM ANALYZE smtpsetup.content")
        box.database.run("CHECKPOINT")
        yield box, lease


def claim(box: PostgresqlOutbox, lease: str, limit: int) -> float:
    """The seconds of a claim; as many mails as were sent come in."""
    started = time.perf_counter()
    mails = box.take(ACCOUNT, "", lease, time.time() + 100, limit)
    taken = time.perf_counter() - started
    if len(mails) != limit:
        sys.exit(f"{len(mails)} mails were taken, not {limit}")
    send(box, mails)
    fill(box, limit)
    return taken


def plan(box: PostgresqlOutbox, lease: str, limit: int) -> None:
    """Print how the database makes a claim, and undo it."""
    if not os.environ.get("PLANS"):
        return
    behind, _until = box._behind.get((ACCOUNT, ""), (float("-inf"), 0.0))  # noqa: SLF001  what is measured
    values = (ACCOUNT, "", time.time() + 100, behind, int(lease))
    box.database.run("BEGIN")
    for row in box.database.rows(f"EXPLAIN (ANALYZE, BUFFERS) {due._TAKE.format(limit=limit)}", values):  # noqa: SLF001  what is measured
        print(f"    {row[0]}")
    box.database.run("ROLLBACK")


def claims(bench: Bench) -> list[Row]:
    """Whether the cost of a claim is independent of what waits, also when much has been sent."""
    rows = []
    with filled(bench, MANY) as many, filled(bench, FEW) as few:
        for state in ("", ", after half were sent"):
            if state:
                for box, lease in (many, few):
                    half = (MANY if box is many[0] else FEW) // 2
                    while half > 0:
                        mails = box.take(ACCOUNT, "", lease, time.time() + 100, min(half, SENT_AT_ONCE))
                        send(box, mails)
                        half -= len(mails)
            for limit in (1, 20):
                plan(*many, limit)
                own, other = functools.partial(claim, *many, limit), functools.partial(claim, *few, limit)
                for _warm in range(20):
                    own(), other()
                ours, least, ratio = paired(own, other, CLAIMS)
                work = f"a claim of {limit} from {MANY:,} mails : from {FEW:,}{state} ({CLAIMS:,})"
                rows.append(_row(work, ours, least, ratio, 1.2))
    return rows


def _row(work: str, ours: float, least: float, ratio: float, bound: float) -> Row:
    return Row(work, f"{ours * 1000:.2f} ms", f"{least * 1000:.2f} ms", f"{ratio:.2f} x", f"{bound} x", ratio <= bound)


# workers


@contextmanager
def working(bench: Bench, name: str, settings: OutboxSettings, port: int, workers: int) -> Iterator[None]:
    """Workers, each with a home of its own, that have nothing to do."""
    processes = [
        subprocess.Popen(
            [SMTPSETUP, "outbox", "work"], env=bench.home(f"{name}-{number}", port, settings), stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=(bench.base / f"{name}-{number}.err").open("wb"),
        )
        for number in range(workers)
    ]  # fmt: skip
    try:
        time.sleep(2)
        yield
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(60)


def per_second(bench: Bench, name: str, port: int, workers: int, mails: int) -> float:
    """How many mails a second leave a shared outbox, from their commit to the last one."""
    settings = bench.cluster.database()
    with working(bench, name, settings, port, workers), PostgresqlOutbox(settings, "") as box:
        fill(box, WORKERS)  # the workers are warm, and connected to the server
        wait_for(lambda: not box.mails(), 60)
        fill(box, mails)
        started = time.perf_counter()
        is_there = "SELECT EXISTS (SELECT FROM smtpsetup.mail)"
        while box.database.one(is_there)[0]:
            if time.perf_counter() - started > 600:  # noqa: PLR2004  seconds
                sys.exit(f"the workers do not end; see {bench.base}")
            time.sleep(0.05)
        return mails / (time.perf_counter() - started)


def sqlite_per_second(bench: Bench, port: int, mails: int) -> float:
    """How many mails a second a flush of an outbox on this machine sends, without its start."""
    env = bench.home("sqlite", port)
    taken = {}
    for count in (1, mails):
        message = from_bytes(ready_made(TO, TEXT).replace(b"\n", b"\r\n"))
        with SqliteOutbox(str(state_dir(env)), is_durable=False) as box, box.transaction():
            for number in range(count):
                box.add(NewMail(ACCOUNT, Envelope(ADDRESS, (TO,)), message, f"<{number}@example.test>", "Faktura"))
        taken[count] = Program([SMTPSETUP, "outbox", "flush"], env).run()
    return (mails - 1) / (taken[mails] - taken[1])


def near_workers(bench: Bench) -> list[Row]:
    """The mails a second of workers whose server answers at once, against an outbox on this machine."""
    port = bench.sink()
    floor = sqlite_per_second(bench, port, NEAR_MAILS)
    one = per_second(bench, "near-1", port, 1, NEAR_MAILS)
    four = per_second(bench, "near-4", port, WORKERS, NEAR_MAILS)
    again = sqlite_per_second(bench._replace(base=bench.base / "again"), port, NEAR_MAILS)
    peer = f"{floor:.0f} and {again:.0f} mails/s"
    floor = (floor + again) / 2
    work = f"{NEAR_MAILS:,} mails, server at once, in PostgreSQL,"
    rows = []
    for name, ours, bound in (("one worker", one, 0.0), (f"{WORKERS} workers", four, 0.4)):
        least = f"{bound} x" if bound else "-"
        figure = f"{ours / floor:.2f} x"
        is_kept = ours >= bound * floor
        rows.append(Row(f"{work} {name} : flush of SQLite", f"{ours:.0f} mails/s", peer, figure, least, is_kept))
    return rows


def far_workers(bench: Bench) -> list[Row]:
    """How workers add up where the mail server is slow."""
    port = bench.sink(REPLY_SECONDS)
    one = per_second(bench, "far-1", port, 1, FAR_MAILS // WORKERS)
    four = per_second(bench, "far-4", port, WORKERS, FAR_MAILS)
    work = f"{FAR_MAILS:,} mails, each reply after {REPLY_SECONDS * 1000:.0f} ms, {WORKERS} workers : one"
    is_kept = four >= 3.5 * one
    return [Row(work, f"{four:.1f} mails/s", f"{one:.1f} mails/s", f"{four / one:.2f} x", "3.5 x", is_kept)]


# adding


def adding(bench: Bench) -> list[Row]:
    """A program that adds a mail, whole processes; and what one that only sends loads."""
    port = bench.sink()
    settings = bench.cluster.database()
    text = bench.base / "text"
    text.write_text(TEXT)
    shared, own = bench.home("shared", port, settings), bench.home("own", port)
    argv = [SMTPSETUP, "send", TO, "-s", "Faktura", "--queue", "always"]
    ours, least, ratio = paired(Program(argv, shared, text).run, Program(argv, own, text).run, PAIRS)
    rows = [_row(f"`send --queue always` into PostgreSQL : SQLite ({PAIRS})", ours, least, ratio, 3.0)]
    plain = [sys.executable, "-X", "importtime", SMTPSETUP, "send", TO, "-s", "Faktura"]
    with text.open("rb") as stdin:
        done = subprocess.run(plain, env=shared, stdin=stdin, capture_output=True, text=True, check=True)
    loaded = [name for name in ("psycopg", "smtpsetup.outbox.postgresql") if name in done.stderr]
    own_time, other_time, cost = paired(Program(argv[:-2], shared, text).run, Program(argv[:-2], own, text).run, PAIRS)
    rows.append(_row(f"plain `send` with a shared outbox : without ({PAIRS})", own_time, other_time, cost, 1.05))
    words = ", ".join(loaded) or "nothing"
    rows.append(Row("modules of PostgreSQL in a plain `send`", words, "nothing", words, "nothing", not loaded))
    return rows


def loading(bench: Bench) -> list[Row]:
    """A batch into the outbox, against COPY of the ready rows by the same library."""
    settings = bench.cluster.database()
    env = bench.home("load", 9, settings)
    lines = bench.base / "lines.jsonl"
    with lines.open("w") as file:
        for number in range(LINES):
            row = {"to": f"kund{number}@example.test", "subject": f"Faktura {number}", "body": TEXT}
            file.write(json.dumps(row) + "\n")
    argv = [SMTPSETUP, "send", "--batch", str(lines), "--queue", "always"]
    started = time.perf_counter()
    subprocess.run(
        argv, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True
    )
    ours = time.perf_counter() - started
    least = copied(bench)
    figure = f"{LINES / ours:.0f} lines/s"
    work = f"{LINES:,} lines, `send --batch --queue always` : COPY of ready rows"
    return [Row(work, f"{ours:.1f} s", f"{least:.1f} s", f"{figure}, {ours / least:.1f} x", "-", is_kept=True)]


def copied(bench: Bench) -> float:
    """The seconds of COPY for as many mails, in transactions of a thousand."""
    message = from_bytes(ready_made(TO, TEXT).replace(b"\n", b"\r\n"))
    with PostgresqlOutbox(bench.cluster.database(), "") as box:
        text = b"".join(message.chunks())
        values = box.new_values(NewMail(ACCOUNT, Envelope(ADDRESS, (TO,)), message, "<1@example.test>", "Faktura"), 0)
        started = time.perf_counter()
        for first in range(1, LINES, SENT_AT_ONCE):
            numbers = range(first, first + SENT_AT_ONCE)
            with box.transaction(), box.database.raw.cursor() as cursor:
                with cursor.copy(f"COPY smtpsetup.mail (id, {', '.join(NEW_COLUMNS)}) FROM STDIN".encode()) as copy:
                    for number in numbers:
                        copy.write_row((number, *values))
                with cursor.copy(b"COPY smtpsetup.content FROM STDIN") as copy:
                    for number in numbers:
                        copy.write_row((number, 0, text))
        return time.perf_counter() - started


ROWS: dict[str, Callable[[Bench], list[Row]]] = {
    "claims": claims,
    "near-workers": near_workers,
    "far-workers": far_workers,
    "adding": adding,
    "loading": loading,
}


def main() -> None:
    """Print the table."""
    wanted = sys.argv[1:] or list(ROWS)
    unknown = [name for name in wanted if name not in ROWS]
    if unknown:
        sys.exit(f"no row {', '.join(unknown)}; there are: {', '.join(ROWS)}")
    signal.signal(signal.SIGTERM, lambda *_rest: sys.exit(143))  # so that the servers are stopped
    print("work, ours : peer (pairs)\n  ours | peer | ratio | bound", flush=True)
    with (
        tempfile.TemporaryDirectory() as directory,
        running("shared_buffers = '1GB'", "max_wal_size = '4GB'") as server,
    ):
        for name in wanted:
            base = Path(directory, name)
            base.mkdir()
            with ExitStack() as stack:
                for row in ROWS[name](Bench(server, base, stack)):
                    print(f"{name}: {row.work}")
                    kept = "" if row.is_kept else "   NOT KEPT"
                    print(f"  {row.ours} | {row.peer} | {row.figure} | {row.bound}{kept}", flush=True)
            shutil.rmtree(base)


if __name__ == "__main__":
    main()
