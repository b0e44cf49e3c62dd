"""From an account to a session with its server."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from smtpsetup.address.address import parse_address
from smtpsetup.core.errors import SmtpsetupError, reason_of
from smtpsetup.core.failure import TransportError
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import Auth, Stage
from smtpsetup.net import tls
from smtpsetup.net.dial import Deadline
from smtpsetup.net.name_server import look_up_from_environment
from smtpsetup.smtp.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from smtpsetup.config.account import Account
    from smtpsetup.core.model import Secret
    from smtpsetup.net.tls import TlsPolicy
    from smtpsetup.smtp.session import StageResult


def session_for(
    account: Account,
    *,
    seconds: float,
    on_stage: Callable[[StageResult], None] | None = None,
    trace: Callable[[str], None] | None = None,
) -> Session:
    """A session that is not open yet. It greets with the sender's domain, a name that every server takes (RFC 5321 section 4.1.1.1).

    Raises as `policy_for`.
    """
    return Session(
        account.server,
        ehlo_name=parse_address(account.address).domain,
        deadline=Deadline(seconds),
        policy=policy_for(account),
        on_stage=on_stage,
        trace=trace,
        look_up=look_up_from_environment(),
    )


@contextmanager
def logged_in(
    account: Account,
    secret: Secret | None,
    *,
    seconds: float,
    trace: Callable[[str], None] | None = None,
    on_renewed: Callable[[Secret], None] | None = None,
) -> Iterator[Session]:
    """A session whose server knows who is sending. Raises TransportError, and SmtpsetupError as `session_for`.

    An access token that looks fresh and is refused is replaced, once: it may have been revoked, or this machine's clock is wrong. `on_renewed` gets
    the other one, so that nothing more is begun with the first.
    """
    with session_for(account, seconds=seconds, trace=trace) as session:
        session.hide(secret)
        session.open()
        try:
            prove(session, account, secret)
        except TransportError as error:
            if secret is None or not is_refused_token(account, error):
                raise
            refused = error
        else:
            yield session
            return
    from smtpsetup.oauth.access_token import renewed  # only a token that was refused comes here

    fresh = renewed(account, secret)
    if fresh is None:
        raise refused
    if on_renewed:
        on_renewed(fresh)
    with session_for(account, seconds=seconds, trace=trace) as session:
        session.hide(fresh)
        session.open()
        prove(session, account, fresh)
        yield session


def prove(session: Session, account: Account, secret: Secret | None) -> None:
    """Log in, where the account asks for it. Raises TransportError."""
    if account.auth is not Auth.NONE and secret is not None:
        session.log_in(account.username, secret, with_token=account.auth is Auth.OAUTH2)


def is_refused_token(account: Account, error: TransportError) -> bool:
    """Whether a server has refused an access token for good, and for nothing that it says of something else, so that a fresh one may help."""
    reply = error.failure.reply
    if account.auth is not Auth.OAUTH2 or error.failure.stage is not Stage.AUTH or reply is None or reply.is_temporary:
        return False
    from smtpsetup.diagnosis.diagnose import error_code  # only a login that was refused comes here

    return error_code(error.failure) not in _NOT_THE_TOKEN


_NOT_THE_TOKEN = {
    "auth.disabled-by-admin",
    "auth.too-many-attempts",
    "limit.account-blocked",
    "limit.quota",
    "server.client-blocked",
    "starttls.required",
}


def policy_for(account: Account) -> TlsPolicy:
    """Whom an account believes. Raises SmtpsetupError (`config.invalid`) where its `ca_file` cannot be used."""
    try:
        return tls.policy(account.ca_file, account.tls_fingerprint)
    except OSError as error:
        import ssl  # the transport has it loaded

        reason = _("it holds no certificate in PEM form") if isinstance(error, ssl.SSLError) else reason_of(error)
        raise SmtpsetupError(
            "config.invalid",
            _("{path} cannot be used: {reason}.").format(path=account.ca_file, reason=reason),
            hints=(_("It is the `ca_file` of the account {account}.").format(account=account.name),),
        ) from error
