"""The sign-ins of accounts in a shared outbox, encrypted; and the one renewal of each."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.i18n import gettext as _
from smtpsetup.credentials import stores
from smtpsetup.outbox.postgresql import sealing
from smtpsetup.outbox.postgresql.connection import Connection, run_surely

if TYPE_CHECKING:
    from collections.abc import Iterator

    from smtpsetup.config.outbox_settings import OutboxSettings

_SAVE = (
    "INSERT INTO smtpsetup.token (account, sealed) VALUES (%s, %s) ON CONFLICT (account) DO UPDATE SET sealed = "
    "EXCLUDED.sealed, at = now()"
)
_RENEWALS = 0x746B  # the class of the advisory locks for renewals: "tk"


class TokenStore:
    """The encrypted sign-in of one account, locked against the other machines."""

    def __init__(self, db: Connection, key: str, account: str) -> None:
        self._db = db
        self._key = key
        self._account = account

    def load(self) -> bytes | None:
        """What is stored, None for nothing or what this key cannot read. Raises SharedOutboxError."""
        rows = self._db.rows("SELECT sealed FROM smtpsetup.token WHERE account = %s", (self._account,))
        try:
            return sealing.unseal(self._key, self._account, bytes(rows[0][0])) if rows else None
        except sealing.SealBrokenError:
            return None

    def save(self, data: bytes) -> None:
        """Store it, durably. Raises SharedOutboxError."""
        values = (self._account, sealing.seal(self._key, self._account, data))
        run_surely(self._db, _SAVE, values)  # the provider may have made the token before it useless


@contextmanager
def locked(settings: OutboxSettings, account: str, seconds: float) -> Iterator[TokenStore | None]:
    """The store of an account, which no other machine changes meanwhile; None where sign-ins are not shared.

    Raises SharedOutboxError, also where the lock is not free within so many seconds, and SmtpsetupError
    (`secret.missing`) where this machine has not got the key.
    """
    db = Connection(settings)
    try:
        rows = db.rows("SELECT fingerprint FROM smtpsetup.token_key")
        if not rows:
            yield None
            return
        key = _key(settings, bytes(rows[0][0]))
        db.one("SELECT set_config('lock_timeout', %s, false)", (f"{seconds:.0f}s",))
        db.one("SELECT pg_advisory_lock(%s, hashtext(%s))", (_RENEWALS, account))
        yield TokenStore(db, key, account)
    finally:
        db.close()


def _key(settings: OutboxSettings, wanted: bytes) -> str:
    """The key of this machine. Raises SmtpsetupError where it is missing or that of another outbox."""
    try:
        key = stores.read_source(settings.key, settings.key_name).reveal()
    except SmtpsetupError as error:
        raise _missing(settings, error.message) from error
    if not sealing.is_key(key) or sealing.fingerprint(key) != wanted:
        raise _missing(settings, _("The one that is kept here is another."))
    return key


def _missing(settings: OutboxSettings, cause: str) -> SmtpsetupError:
    return SmtpsetupError(
        "secret.missing",
        _("This machine has not got the key of the shared outbox {url}, which protects the sign-ins.").format(
            url=settings.shown
        ),
        causes=(cause,),
        hints=(
            _("Get it from a machine that has it: `{command}`.").format(
                command="ssh HOST smtpsetup outbox share-key | smtpsetup outbox share-key --receive"
            ),
        ),
    )


def ensure_key(settings: OutboxSettings) -> bool:
    """Make the key if the outbox has none, and keep it on this machine. Returns whether it was made.

    Raises SharedOutboxError, and SmtpsetupError or OSError where it cannot be kept, or is not that of the outbox.
    """
    db = Connection(settings)
    try:
        with db.explained(), db.raw.transaction():
            db.run("LOCK TABLE smtpsetup.token_key IN EXCLUSIVE MODE")
            if there := db.rows("SELECT fingerprint FROM smtpsetup.token_key"):
                _key(settings, bytes(there[0][0]))
                return False
            key = sealing.new_key()
            stores.write_source(settings.key, settings.key_name, key)
            db.run("INSERT INTO smtpsetup.token_key VALUES (%s)", (sealing.fingerprint(key),))
            return True
    finally:
        db.close()


def own_key(settings: OutboxSettings) -> str:
    """The key of this machine, to hand to another. Raises SharedOutboxError, SmtpsetupError."""
    return _key(settings, _fingerprint(settings))


def receive_key(settings: OutboxSettings, key: str) -> None:
    """Keep a key that another machine has handed over.

    Raises SharedOutboxError, and SmtpsetupError or OSError for a wrong key or where it cannot be kept.
    """
    if not sealing.is_key(key) or sealing.fingerprint(key) != _fingerprint(settings):
        raise SmtpsetupError(
            "secret.missing",
            _("This is not the key of the shared outbox {url}.").format(url=settings.shown),
            hints=(_("Let the other machine print it: `smtpsetup outbox share-key`."),),
        )
    stores.write_source(settings.key, settings.key_name, key)


def _fingerprint(settings: OutboxSettings) -> bytes:
    db = Connection(settings)
    try:
        rows = db.rows("SELECT fingerprint FROM smtpsetup.token_key")
    finally:
        db.close()
    if not rows:
        raise SmtpsetupError(
            "secret.missing",
            _("The shared outbox {url} has no key yet.").format(url=settings.shown),
            hints=(_("Make one: `smtpsetup outbox init`."),),
        )
    return bytes(rows[0][0])
