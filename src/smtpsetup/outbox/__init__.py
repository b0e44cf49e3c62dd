"""Mail that waits: accepted from the user and not yet accepted by a server."""

from smtpsetup.outbox.database import OutboxDamagedError, file_in
from smtpsetup.outbox.mail import Mail, NewMail, State
from smtpsetup.outbox.store import Outbox

__all__ = ["Mail", "NewMail", "Outbox", "OutboxDamagedError", "State", "file_in"]
