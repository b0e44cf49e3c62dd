"""Renewing an access token: room on the disk is taken before it is asked for, so that no answer is lost."""

from __future__ import annotations

import shlex
import time
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.exit_codes import EX_TEMPFAIL
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import Secret
from smtpsetup.credentials import stores
from smtpsetup.oauth import token_cache, token_endpoint
from smtpsetup.oauth.request import OAuthError, refresh_token_in, tokens_in
from smtpsetup.state import signals

if TYPE_CHECKING:
    from collections.abc import Callable

    from smtpsetup.config.account import Account
    from smtpsetup.core.oauth_types import TokenClient

_LONGEST_PAUSE = 3600.0  # seconds that a provider may ask for


class _Renewal(NamedTuple):
    """What a renewal begins with: `stored` is in the account's own place, `kept` beside the access token."""

    account: Account
    client: TokenClient
    kept: token_cache.Kept | None
    stored: str

    @property
    def current(self) -> str:
        """The refresh token to use: the one from the account's place, or the one that has followed it."""
        follows = self.kept is not None and bool(self.kept.refresh_token) and self.kept.replaces == _digest(self.stored)
        return self.kept.refresh_token if self.kept and follows else self.stored

    def kept_now(self, access_token: str, expires_at: float, newest: str) -> token_cache.Kept:
        """What is to be kept from now on."""
        fresh = token_cache.Kept(
            access_token,
            expires_at,
            token_cache.owner_of(self.account, self.client),
            time.time(),
            self.kept.signed_in_at if self.kept else 0.0,
        )
        return fresh if newest == self.stored else fresh._replace(refresh_token=newest, replaces=_digest(self.stored))


def renewed(
    account: Account, client: TokenClient, kept: token_cache.Kept | None, directory: str, *, may_prompt: bool
) -> Secret:
    """A new access token; the caller holds the lock. Raises SmtpsetupError, OSError."""
    _respect_pause(client, kept)
    renewal = _Renewal(account, client, kept, _refresh_token(account, may_prompt=may_prompt))
    with token_cache.reserved(directory, account.name) as save_there, signals.deferral() as hold_signals:
        try:
            fresh = _answer(renewal, save_there, hold_signals)
        except OAuthError as error:
            raise token_endpoint.explained(error, account) from error
        save_there(fresh)
    if fresh.refresh_token and stores.is_kept_here(account):
        _move_to_its_place(account, fresh, directory)
    return Secret(fresh.access_token)


def _respect_pause(client: TokenClient, kept: token_cache.Kept | None) -> None:
    left = kept.ask_again_at - time.time() if kept else 0.0
    if 0 < left <= _LONGEST_PAUSE:
        host = token_endpoint.host_of(client)
        message = _("{host} has asked for a pause before it gives another token; it ends in {n} seconds.").format(
            host=host, n=int(left) + 1
        )
        raise SmtpsetupError(
            "auth.temporary",
            message,
            hints=(_("Try again later; the sign-in is kept as it is."),),
            exit_code=EX_TEMPFAIL,
        )


def _answer(
    renewal: _Renewal, save_there: Callable[[token_cache.Kept], None], hold_signals: Callable[[], None]
) -> token_cache.Kept:
    """What came back. A new refresh token is kept also where nothing else of it can be used. Raises OAuthError."""
    current, client, kept = renewal.current, renewal.client, renewal.kept
    try:
        document = token_endpoint.answer(client, current, before_request=hold_signals)
    except OAuthError as error:
        if kept and error.retry_after:
            save_there(kept._replace(ask_again_at=time.time() + min(error.retry_after, _LONGEST_PAUSE)))
        raise
    newest = refresh_token_in(document) or current
    try:
        answer = tokens_in(document, time.time(), client.scopes)
    except OAuthError:
        if newest != renewal.stored:
            save_there(renewal.kept_now("", 0.0, newest))
        raise
    return renewal.kept_now(answer.access_token, answer.expires_at, newest)


def _refresh_token(account: Account, *, may_prompt: bool) -> str:
    try:
        return stores.read(account, may_prompt=may_prompt).reveal()
    except SmtpsetupError as error:
        if error.code == "secret.missing":
            raise SmtpsetupError(
                "secret.missing",
                _("Nobody is signed in for {account}.").format(account=account.name),
                causes=(error.message,),
                hints=(_("Sign in: `smtpsetup login {account}`.").format(account=shlex.quote(account.name)),),
            ) from error
        raise


def _digest(secret: str) -> str:
    import hashlib  # only for a renewal

    return hashlib.sha256(secret.encode()).hexdigest()


def _move_to_its_place(account: Account, fresh: token_cache.Kept, directory: str) -> None:
    """Bring a new refresh token to where the account keeps it.

    Where that cannot be written now, it stays beside the access token, and serves.
    """
    with suppress(SmtpsetupError, OSError):
        stores.store(account, Secret(fresh.refresh_token))
        token_cache.save(directory, account.name, fresh._replace(refresh_token="", replaces=""))
