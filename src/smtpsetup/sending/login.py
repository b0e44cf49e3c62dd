"""Opening a session that is logged in, with any transport."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from smtpsetup.core.failure import TransportError
from smtpsetup.core.model import Auth, Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from smtpsetup.config.account import Account
    from smtpsetup.core.model import Secret
    from smtpsetup.sending.context import Context
    from smtpsetup.sending.transport import Session


@contextmanager
def logged_in(
    context: Context, secret: Secret | None, *, seconds: float, on_new_token: Callable[[Secret], None] | None = None
) -> Iterator[Session]:
    """A session that is logged in, within `seconds`.

    Raises TransportError; SmtpsetupError where the account's settings cannot be used.

    An access token that is refused although it looks fresh is renewed once: it may have been revoked, or this
    machine's clock is wrong. `on_new_token` gets the new one.
    """
    with context.session(seconds) as session:
        try:
            session.open(secret)
        except TransportError as error:
            if secret is None or not is_refused_token(context.account, error):
                raise
            refused = error
        else:
            yield session
            return
    from smtpsetup.oauth.access_token import renewed  # only for a refused token

    new_token = renewed(context.account, secret)
    if new_token is None:
        raise refused
    if on_new_token:
        on_new_token(new_token)
    with context.session(seconds) as session:
        session.open(new_token)
        yield session


def is_refused_token(account: Account, error: TransportError) -> bool:
    """Whether the server has refused an access token permanently, so that a new one may help.

    A refusal with another reason, such as a blocked account, does not count.
    """
    reply = error.failure.reply
    if account.auth is not Auth.OAUTH2 or error.failure.stage is not Stage.AUTH or reply is None or reply.is_temporary:
        return False
    from smtpsetup.diagnosis.diagnose import error_code  # only for a refused login

    return error_code(error.failure) not in _NOT_THE_TOKEN


_NOT_THE_TOKEN = {
    "auth.access-denied",
    "auth.api-disabled",
    "auth.no-mailbox",
    "auth.disabled-by-admin",
    "auth.too-many-attempts",
    "limit.account-blocked",
    "limit.quota",
    "server.client-blocked",
    "starttls.required",
}
