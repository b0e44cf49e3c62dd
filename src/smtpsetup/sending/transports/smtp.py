"""The SMTP transport (RFC 6409): pipelined, in constant memory, each stage reported."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smtpsetup.address.address import parse_address
from smtpsetup.core.errors import SmtpsetupError, reason_of
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import Auth, Security, Stage
from smtpsetup.net import tls
from smtpsetup.net.dial import Deadline, look_up_from_environment, proxy_from_environment
from smtpsetup.smtp import session as smtp

if TYPE_CHECKING:
    from smtpsetup.config.account import Account
    from smtpsetup.core.model import Secret
    from smtpsetup.net.proxy import Proxy
    from smtpsetup.net.tls import TlsPolicy
    from smtpsetup.sending.conditions import Conditions


class SmtpTransport:
    """The account's server over SMTP."""

    has_envelope = True

    def planned_stages(self, account: Account, *, login_only: bool) -> tuple[Stage, ...]:
        """See `Transport.planned_stages`."""
        order = {
            Security.TLS: (Stage.TLS, Stage.GREETING, Stage.EHLO),
            Security.STARTTLS: (Stage.GREETING, Stage.EHLO, Stage.STARTTLS, Stage.TLS),
            Security.NONE: (Stage.GREETING, Stage.EHLO),
        }
        login = () if account.auth is Auth.NONE else (Stage.AUTH,)
        mail = (Stage.MAIL, Stage.RCPT, *(() if login_only else (Stage.DATA,)))
        return (Stage.DNS, Stage.CONNECT, *order[account.server.security], *login, *mail, Stage.QUIT)

    def session(self, account: Account, conditions: Conditions) -> SmtpSession:
        """See `Transport.session`."""
        return SmtpSession(account, conditions)


class SmtpSession(smtp.Session):
    """A session with an account's server. EHLO has the sender's domain, which every server accepts."""

    def __init__(self, account: Account, conditions: Conditions) -> None:
        super().__init__(
            account.server,
            ehlo_name=parse_address(account.address).domain,
            deadline=Deadline(conditions.seconds),
            policy=policy_for(account),
            on_stage=conditions.on_stage,
            trace=conditions.trace,
            look_up=look_up_from_environment(),
            proxy=proxy_for(account),
        )
        self._account = account

    def open(self, secret: Secret | None) -> None:
        """See `Session.open` in `sending.transport`."""
        self.mask_secret(secret)
        self.connect()
        if self._account.auth is not Auth.NONE and secret is not None:
            self.log_in(self._account.username, secret, with_token=self._account.auth is Auth.OAUTH2)

    def prove_sender(self) -> None:
        """See `Session.prove_sender` in `sending.transport`."""
        self.try_sender(parse_address(self._account.address).wire)


def proxy_for(account: Account) -> Proxy | None:
    """The proxy to the account's server; None for a direct connection.

    Raises SmtpsetupError (`config.invalid`) where `ALL_PROXY` names none.
    """
    if account.proxy is None and not proxy_from_environment():
        return None
    from smtpsetup.net import proxy  # only for users of a proxy

    try:
        return proxy.chosen(account.proxy, account.server.host)
    except proxy.ProxyError as error:
        raise SmtpsetupError(
            "config.invalid",
            _("ALL_PROXY cannot be used: {reason}.").format(reason=error.detail),
            hints=(_('Correct it, or send without it: `proxy = "none"` in the account.'),),
        ) from error


def policy_for(account: Account) -> TlsPolicy:
    """The TLS policy of an account. Raises SmtpsetupError (`config.invalid`) where its `ca_file` cannot be used."""
    try:
        return tls.policy(account.ca_file, account.tls_fingerprint)
    except OSError as error:
        import shlex  # for this error only
        import ssl  # the transport has it loaded

        hint = _(
            "It is the `ca_file` of the account {account}. Name another: "
            "`smtpsetup configure {address} --ca-file FILE`."
        )
        reason = _("it holds no certificate in PEM form") if isinstance(error, ssl.SSLError) else reason_of(error)
        raise SmtpsetupError(
            "config.invalid",
            _("{path} cannot be used: {reason}.").format(path=account.ca_file, reason=reason),
            hints=(hint.format(account=account.name, address=shlex.quote(account.address)),),
        ) from error
