"""Mail that waits: accepted from the user and not yet accepted by a server."""

from smtpsetup.outbox.database import OutboxDamagedError, file_in
from smtpsetup.outbox.store import Mail, NewMail, Outbox, State

__all__ = ["Mail", "NewMail", "Outbox", "OutboxDamagedError", "State", "file_in"]
