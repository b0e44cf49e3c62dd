"""What an outbox raises, besides OSError."""

from __future__ import annotations

from enum import StrEnum

from smtpsetup.core.errors import ExplainedOSError, SmtpsetupError
from smtpsetup.core.exit_codes import EX_TEMPFAIL
from smtpsetup.core.i18n import N_
from smtpsetup.core.i18n import gettext as _


class OutboxDamagedError(Exception):
    """The outbox at `path` is not a database any more, or a part of it cannot be read."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


class Trouble(StrEnum):
    """Why a shared outbox cannot be used."""

    UNREACHABLE = "unreachable"
    LOGIN = "login"
    NO_DATABASE = "no-database"
    NO_PERMISSION = "no-permission"
    READ_ONLY = "read-only"
    DISK_FULL = "disk-full"
    POOLER = "pooler"
    NO_LIBRARY = "no-library"
    LOST_MAIL = "lost-mail"
    NO_SCHEMA = "no-schema"
    OLD_SCHEMA = "old-schema"
    NEW_SCHEMA = "new-schema"
    OTHER = "other"


_OF_SCHEMA = (Trouble.NO_SCHEMA, Trouble.OLD_SCHEMA, Trouble.NEW_SCHEMA)
_HINTS = {
    Trouble.UNREACHABLE: N_('Look whether the database runs and can be reached: `psql "{url}"`.'),
    Trouble.LOGIN: N_(
        "Put the password into ~/.pgpass (mode 0600), or name its store as outbox_secret in config.toml. Try it: `psql "
        '"{url}"`.'
    ),
    Trouble.NO_DATABASE: N_("Make the database: `createdb NAME`. Then make its tables: `smtpsetup outbox init`."),
    Trouble.NO_PERMISSION: N_("Use the user who ran `smtpsetup outbox init`, or grant this one its rights."),
    Trouble.READ_ONLY: N_(
        "Name the primary server in the URL, or several with `?target_session_attrs=read-write` behind it."
    ),
    Trouble.DISK_FULL: N_("Make room on the disk of the database server."),
    Trouble.POOLER: N_("Connect to the database itself, or to the pooler in session mode (`pool_mode = session`)."),
    Trouble.NO_LIBRARY: N_("Install it: `pipx inject smtpsetup 'psycopg[binary]'`, or with pip: `psycopg[binary]`."),
    Trouble.LOST_MAIL: N_("Nothing is to be done: it is sent, or told as unknown, by whoever has it now."),
    Trouble.NO_SCHEMA: N_("Make the tables: `smtpsetup outbox init`."),
    Trouble.OLD_SCHEMA: N_("Bring the tables up to date, once on one machine: `smtpsetup outbox init`."),
    Trouble.NEW_SCHEMA: N_("Install the newest smtpsetup on this machine, too."),
    Trouble.OTHER: N_("Look at the log of the database server."),
}


class SharedOutboxError(ExplainedOSError):
    """A shared outbox cannot be used. `filename` is its masked URL, `strerror` the database's own words."""

    def __init__(self, trouble: Trouble, shown: str, reason: str) -> None:
        super().__init__(0, reason, shown)
        self.trouble = trouble

    def explained(self) -> SmtpsetupError:
        """The error for people."""
        text = (
            _("The library {name} is missing, which the shared outbox needs.").format(name=self.strerror)
            if self.trouble is Trouble.NO_LIBRARY
            else _("The shared outbox {url} cannot be used: {reason}.").format(
                url=self.filename, reason=_(self.strerror) if self.strerror else self.trouble
            )
        )
        is_schema = self.trouble in _OF_SCHEMA
        return SmtpsetupError(
            "outbox.schema" if is_schema else "outbox.unavailable",
            text,
            hints=(_(_HINTS[self.trouble]).format(url=self.filename),),
            exit_code=None if is_schema else EX_TEMPFAIL,
        )
