"""Access tokens for a program that signs in by itself: there is no refresh token, and each one is asked for anew."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from smtpsetup.core.model import Secret
from smtpsetup.credentials import stores
from smtpsetup.oauth import app_secret, token_cache, token_endpoint
from smtpsetup.oauth.request import OAuthError, tokens_in

if TYPE_CHECKING:
    from smtpsetup.config.account import Account
    from smtpsetup.core.oauth_types import TokenClient, Tokens


def first_tokens(account: Account, client: TokenClient, secret: Secret, *, is_saved: bool) -> Tokens:
    """Ask for an access token with the account's secret. Raises SmtpsetupError."""
    try:
        return _requested(account, client, secret)
    except OAuthError as error:
        raise token_endpoint.explained(error, account, is_saved=is_saved) from error


def renewed(  # noqa: PLR0913  the two kinds of renewal have one interface
    account: Account,
    client: TokenClient,
    cached: token_cache.CachedTokens | None,
    directory: str,
    *,
    may_prompt: bool,
    keeps_refresh_token: bool = True,  # noqa: ARG001  there is none
) -> Secret:
    """Request a new access token and cache it. The caller holds the lock. Raises SmtpsetupError, OSError."""
    token_endpoint.respect_pause(client, cached)
    secret = stores.read(account, may_prompt=may_prompt)
    with token_cache.reserved(directory, account.name) as save_there:
        try:
            tokens = _requested(account, client, secret)
        except OAuthError as error:
            if cached and error.retry_after:
                save_there(cached._replace(ask_again_at=token_endpoint.ask_again_at(error)))
            raise token_endpoint.explained(error, account) from error
        now = time.time()
        owner = token_cache.owner_of(account, client)
        save_there(token_cache.CachedTokens(tokens.access_token, tokens.expires_at, owner, now, now))
    return Secret(tokens.access_token)


def _requested(account: Account, client: TokenClient, secret: Secret) -> Tokens:
    """Raises OAuthError, and SmtpsetupError for a secret that is no key."""
    fields = app_secret.request_fields(account, client, app_secret.parsed(secret))
    document = token_endpoint.post_form(client, fields, account.proxy)
    # what was granted has the names of single permissions, and not the `.default` that was asked for
    return tokens_in(document, time.time(), ())
