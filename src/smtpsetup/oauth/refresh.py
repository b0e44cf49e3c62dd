"""Renewing an access token. Disk space is reserved before the request, so that no new refresh token is lost."""

from __future__ import annotations

import shlex
import time
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from smtpsetup.core.errors import SmtpsetupError
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


class _Renewal(NamedTuple):
    """The state before a renewal. `stored` is the refresh token in the account's store."""

    account: Account
    client: TokenClient
    cached: token_cache.CachedTokens | None
    stored: str

    @property
    def current(self) -> str:
        """The refresh token to use: the cached one if it replaces the stored one, else the stored one."""
        if self.cached and self.cached.refresh_token and self.cached.replaces == token_cache.digest(self.stored):
            return self.cached.refresh_token
        return self.stored

    def result(self, access_token: str, expires_at: float, newest: str) -> token_cache.CachedTokens:
        """The tokens to cache after the renewal. `newest` is the refresh token to use from now on."""
        owner = token_cache.owner_of(self.account, self.client)
        signed_in_at = self.cached.signed_in_at if self.cached else 0.0
        fresh = token_cache.CachedTokens(access_token, expires_at, owner, time.time(), signed_in_at)
        return (
            fresh
            if newest == self.stored
            else fresh._replace(refresh_token=newest, replaces=token_cache.digest(self.stored))
        )


def renewed(  # noqa: PLR0913  the two kinds of renewal have one interface
    account: Account,
    client: TokenClient,
    cached: token_cache.CachedTokens | None,
    directory: str,
    *,
    may_prompt: bool,
    keeps_refresh_token: bool = True,
) -> Secret:
    """Request a new access token and cache it. The caller holds the lock. Raises SmtpsetupError, OSError.

    Without `keeps_refresh_token`, the account's own store is neither read nor written: `cached` has what replaces `""`.
    """
    token_endpoint.respect_pause(client, cached)
    stored = _refresh_token(account, may_prompt=may_prompt) if keeps_refresh_token else ""
    renewal = _Renewal(account, client, cached, stored)
    with token_cache.reserved(directory, account.name) as save_there, signals.deferral() as hold_signals:
        try:
            fresh = _request(renewal, save_there, hold_signals)
        except OAuthError as error:
            raise token_endpoint.explained(error, account) from error
        save_there(fresh)
    if keeps_refresh_token and fresh.refresh_token and stores.is_kept_here(account):
        _move_to_store(account, fresh, directory)
    return Secret(fresh.access_token)


def _request(
    renewal: _Renewal, save_there: Callable[[token_cache.CachedTokens], None], hold_signals: Callable[[], None]
) -> token_cache.CachedTokens:
    """Request new tokens. A new refresh token is saved even if the rest cannot be used. Raises OAuthError."""
    current, client, cached = renewal.current, renewal.client, renewal.cached
    try:
        document = token_endpoint.refresh_tokens(
            client, current, before_request=hold_signals, proxy=renewal.account.proxy
        )
    except OAuthError as error:
        if cached and error.retry_after:
            save_there(cached._replace(ask_again_at=token_endpoint.ask_again_at(error)))
        raise
    newest = refresh_token_in(document) or current
    try:
        tokens = tokens_in(document, time.time(), client.scopes)
    except OAuthError:
        if newest != renewal.stored:
            save_there(renewal.result("", 0.0, newest))
        raise
    return renewal.result(tokens.access_token, tokens.expires_at, newest)


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


def _move_to_store(account: Account, fresh: token_cache.CachedTokens, directory: str) -> None:
    """Move a new refresh token to the account's store. If that cannot be written, it stays in the cache."""
    with suppress(SmtpsetupError, OSError):
        stores.store(account, Secret(fresh.refresh_token))
        token_cache.save(directory, account.name, fresh._replace(refresh_token="", replaces=""))
