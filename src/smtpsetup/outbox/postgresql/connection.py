"""A connection to the database of a shared outbox: verified, bounded in time, its errors explained."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from smtpsetup.config.outbox_settings import parameters
from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.i18n import N_
from smtpsetup.core.model import plain_text
from smtpsetup.credentials import stores
from smtpsetup.outbox.errors import SharedOutboxError, Trouble
from smtpsetup.outbox.postgresql import schema

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    import psycopg

    from smtpsetup.config.outbox_settings import OutboxSettings

_ANSWER_SECONDS = 120.0  # without any answer to a statement, such as behind a proxy that hangs
# both ends notice within a minute that the network between them is cut
_KEEPALIVE = {"keepalives_idle": 15, "keepalives_interval": 10, "keepalives_count": 3, "tcp_user_timeout": 30_000}
_OF_THE_SESSION = (
    "SELECT set_config('tcp_keepalives_idle', '15', false), set_config('tcp_keepalives_interval', '10', false), "
    "set_config('tcp_keepalives_count', '3', false), set_config('tcp_user_timeout', '30000', false), "
    "set_config('statement_timeout', '0', false), set_config('client_min_messages', 'error', false), "
    # every statement is short; a plan without statistics would be compiled each time
    "set_config('jit', 'off', false), "
    # no function that another user has made can take the place of one of the database's
    "set_config('search_path', 'pg_catalog', false), set_config('synchronous_commit', 'on', false)"
)
_FACTS = (
    "SELECT pg_backend_pid(), pg_is_in_recovery() OR current_setting('transaction_read_only') = 'on', "
    "to_regclass('smtpsetup.schema_version') IS NOT NULL"
)
_BY_STATE = {
    "28P01": Trouble.LOGIN,
    "28000": Trouble.LOGIN,
    "3D000": Trouble.NO_DATABASE,
    "42501": Trouble.NO_PERMISSION,
    "3F000": Trouble.NO_SCHEMA,
    "42P01": Trouble.NO_SCHEMA,
    "42703": Trouble.NO_SCHEMA,
    "25006": Trouble.READ_ONLY,
    "53100": Trouble.DISK_FULL,
}
# libpq gives no SQLSTATE for a connection that fails, and the server may speak another language: then it is unreachable
_BY_TEXT = (
    ("password authentication failed", Trouble.LOGIN),
    ("no password supplied", Trouble.LOGIN),
    ("pg_hba.conf", Trouble.LOGIN),
    ("authentication failed", Trouble.LOGIN),
    ('role "', Trouble.LOGIN),
    ('database "', Trouble.NO_DATABASE),
    ("read-only", Trouble.READ_ONLY),
    ("statement pooling mode", Trouble.POOLER),
)
_POOL_TRIES = 3
_AGAIN_SECONDS = 30.0  # for a change that must not be lost
_PAUSE_SECONDS = 0.5
_SECOND_SECONDS = 10.0  # for a second connection through a pooler, whose pool may be too small for it
_MOST_WORDS = 500  # characters of an error


class Connection:
    """An open connection. Each statement is a transaction, outside a block of `raw.transaction()`.

    Every method raises SharedOutboxError.
    """

    def __init__(self, settings: OutboxSettings, *, needs_tables: bool = True) -> None:
        """Connect, and check that the database can be used. Without `needs_tables`, they may be missing or old."""
        self.shown = settings.shown
        self.settings = settings
        try:
            import psycopg  # noqa: F401  the extra `postgresql`, which may be missing, or the libpq that it needs
        except ImportError as error:
            raise SharedOutboxError(Trouble.NO_LIBRARY, self.shown, str(error.name or "psycopg")) from error
        self._seconds = _ANSWER_SECONDS
        with self.explained():
            self.raw = _connected(settings, lambda: self._seconds)
        try:
            with self.explained():
                self.backend = self._checked(needs_tables=needs_tables)
        except BaseException:
            self.raw.close()
            raise

    def _checked(self, *, needs_tables: bool) -> int:
        """Check the server. Returns the process id of its session."""
        backend, is_read_only, has_tables = self.one(_FACTS)
        if backend != self.raw.info.backend_pid:
            self._refuse_transaction_pooler()
        if is_read_only:
            raise SharedOutboxError(Trouble.READ_ONLY, self.shown, N_("it takes no changes: it is a read-only replica"))
        if needs_tables:
            schema.check(self, schema.version(self) if has_tables else 0)
        return int(backend)

    def _refuse_transaction_pooler(self) -> None:
        """Raise SharedOutboxError where a pooler gives each transaction another session, which holds no locks.

        PgBouncer makes up the process id of the session. In transaction mode a second client gets the idle session of
        the first.
        """
        for _try in range(_POOL_TRIES):
            mine = self.one("SELECT pg_backend_pid()")[0]
            with self.explained(), _connected(self.settings, lambda: _SECOND_SECONDS) as other, other.transaction():
                row = other.execute("SELECT pg_backend_pid()").fetchone()
            if (row and row[0] == mine) or self.one("SELECT pg_backend_pid()")[0] != mine:
                raise SharedOutboxError(Trouble.POOLER, self.shown, N_("it is behind a pooler in transaction mode"))

    def one(self, statement: str, values: Sequence[object] = ()) -> tuple[Any, ...]:
        """The first row of a statement that gives one."""
        with self.explained():
            row = self.raw.execute(statement.encode(), values or None).fetchone()
        if row is None:
            raise SharedOutboxError(Trouble.OTHER, self.shown, "no row")
        return row

    def rows(self, statement: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """The rows of a statement."""
        with self.explained():
            return self.raw.execute(statement.encode(), values or None).fetchall()

    def run(self, statement: str, values: Sequence[object] = ()) -> int:
        """Execute a statement. Returns how many rows it has changed."""
        with self.explained():
            return self.raw.execute(statement.encode(), values or None).rowcount

    @contextmanager
    def answered_within(self, seconds: float) -> Iterator[None]:
        """Wait no longer than that for the answer to a statement in a block."""
        before, self._seconds = self._seconds, seconds
        try:
            yield
        finally:
            self._seconds = before

    @property
    def is_broken(self) -> bool:
        """Whether the connection has ended."""
        return self.raw.closed or self.raw.broken

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Turn errors of the database into SharedOutboxError."""
        import psycopg  # loaded already, but for a first connection

        try:
            yield
        except psycopg.Error as error:
            raise SharedOutboxError(_trouble(error), self.shown, _words(error)) from error
        except ValueError as error:  # psycopg's own, for a value that cannot be written
            raise SharedOutboxError(Trouble.OTHER, self.shown, plain_text(str(error))[:_MOST_WORDS]) from error

    def close(self) -> None:
        """Close it."""
        self.raw.close()


def run_surely(db: Connection, statement: str, values: Sequence[object]) -> int:
    """Execute a statement that may be repeated, over new connections where this one has broken.

    Such as after the server has accepted a mail, which must not be sent again. Raises SharedOutboxError.
    """
    try:
        return db.run(statement, values)
    except SharedOutboxError as error:
        if not db.is_broken:
            raise
        broken = error
    end = time.monotonic() + _AGAIN_SECONDS
    while time.monotonic() < end:
        time.sleep(_PAUSE_SECONDS)
        try:
            other = Connection(db.settings)
        except SharedOutboxError:
            continue
        try:
            return other.run(statement, values)
        except SharedOutboxError:
            if not other.is_broken:
                raise
        finally:
            other.close()
    raise broken


def _connected(settings: OutboxSettings, seconds: Callable[[], float]) -> psycopg.Connection[tuple[Any, ...]]:
    """A connection, without any check of the server, which ends where there is no answer for so many seconds."""
    import psycopg

    class Bounded(psycopg.Connection[tuple[Any, ...]]):
        """A connection on which no statement waits for ever."""

        def wait(self, gen: Generator[Any, Any, Any], *rest: Any, **named: Any) -> Any:  # noqa: ANN401  psycopg's own
            try:
                return super().wait(_bounded(gen, seconds()), *rest, **named)
            except psycopg.errors.ConnectionTimeout:  # an answer that comes later would be taken for the next one
                self.close()
                raise

    given: dict[str, Any] = {"connect_timeout": 10, **parameters(settings.url), **_KEEPALIVE}
    if settings.secret:
        try:
            given["password"] = stores.read_source(settings.secret, settings.shown).reveal()
        except SmtpsetupError as error:
            raise SharedOutboxError(Trouble.LOGIN, settings.shown, error.message) from error
    raw = Bounded.connect(autocommit=True, client_encoding="utf8", application_name="smtpsetup", **given)
    raw.execute(_OF_THE_SESSION)
    return raw


def _bounded(gen: Generator[Any, Any, Any], seconds: float) -> Generator[Any, Any, Any]:
    """What `gen` waits for; it is resumed with 0 now and then, when nothing has come."""
    import psycopg

    end = time.monotonic() + seconds
    try:
        wanted = next(gen)
        while True:
            ready = yield wanted
            if not ready and time.monotonic() > end:
                raise psycopg.errors.ConnectionTimeout(f"no answer for {seconds:.0f} seconds")
            wanted = gen.send(ready)
    except StopIteration as done:
        return done.value


def _trouble(error: psycopg.Error) -> Trouble:
    if error.sqlstate:
        state = error.sqlstate
        is_lost = state.startswith(("08", "57P", "53"))
        return _BY_STATE.get(state) or (Trouble.UNREACHABLE if is_lost else Trouble.OTHER)
    text = str(error)
    return next((trouble for words, trouble in _BY_TEXT if words in text), Trouble.UNREACHABLE)


def _words(error: psycopg.Error) -> str:
    """The database's words in one line, without the values of rows, which may be somebody's mail."""
    lines = [error.diag.message_primary or "", *str(error).splitlines()]
    first = next((line.strip() for line in lines if line.strip()), type(error).__name__)
    return plain_text(first.removeprefix("connection failed: "))[:_MOST_WORDS].rstrip(".")
