"""Access tokens that several machines share by way of their outbox: one of them renews, the others read.

The newest refresh token is in the shared outbox, encrypted. On each machine is a copy of the access token, so that a
send whose token has not expired needs no database.
"""

from __future__ import annotations

import json
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.credentials import stores
from smtpsetup.oauth import token_cache
from smtpsetup.oauth.token_cache import digest
from smtpsetup.outbox.errors import SharedOutboxError
from smtpsetup.outbox.postgresql import token_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Protocol

    from smtpsetup.config.account import Account
    from smtpsetup.config.outbox_settings import OutboxSettings
    from smtpsetup.core.model import Secret
    from smtpsetup.core.oauth_types import TokenClient, Tokens
    from smtpsetup.oauth.token_cache import CachedTokens
    from smtpsetup.outbox.postgresql.token_store import TokenStore

    class Renew(Protocol):
        """Requests new tokens, given those that were there, and caches them on this machine."""

        def __call__(self, before: CachedTokens | None, *, keeps_refresh_token: bool) -> Secret:
            """With `keeps_refresh_token`, that of the account's own store is used, and replaced by a new one."""


@contextmanager
def locked(
    settings: OutboxSettings, account: Account, client: TokenClient, seconds: float
) -> Iterator[SharedTokens | None]:
    """The shared tokens of an account, which no other machine renews meanwhile; None where sign-ins are not shared.

    They belong to the account's name, user, server and client. Raises SharedOutboxError, SmtpsetupError.
    """
    name = f"{account.name} {digest(token_cache.owner_of(account, client))[:16]}"
    with token_store.locked(settings, name, seconds) as store:
        yield None if store is None else SharedTokens(store)


class SharedTokens:
    """The tokens of one account, locked."""

    def __init__(self, store: TokenStore) -> None:
        self._store = store

    def load(self) -> CachedTokens | None:
        """The tokens, None for none. Raises SharedOutboxError."""
        data = self._store.load()
        return None if data is None else parsed(data)

    def save(self, tokens: CachedTokens) -> None:
        """Replace them. Raises SharedOutboxError."""
        self._store.save(json.dumps(tokens._asdict()).encode())

    def newest(self, here: CachedTokens | None) -> CachedTokens | None:
        """The tokens of the newest sign-in or renewal, of all machines and of this one."""
        there = self.load()
        if here is None or there is None:
            return there
        is_newer = here.signed_in_at > there.signed_in_at or (
            bool(here.refresh_token) and here.refreshed_at > there.refreshed_at
        )
        return None if is_newer and not here.refresh_token else here if is_newer else there


def parsed(data: bytes) -> CachedTokens | None:
    """Tokens as they are stored, None for anything else."""
    try:
        tokens = token_cache.CachedTokens(**json.loads(data))
    except (ValueError, TypeError, RecursionError):
        return None
    return tokens if tokens.is_valid else None


def share(settings: OutboxSettings, account: Account, client: TokenClient, tokens: Tokens) -> None:
    """Give a new sign-in to the other machines. Where that fails now, the next renewal does it."""
    now = time.time()
    fresh = token_cache.CachedTokens(
        tokens.access_token,
        tokens.expires_at,
        token_cache.owner_of(account, client),
        now,
        now,
        tokens.refresh_token,
    )
    with suppress(SharedOutboxError, SmtpsetupError), locked(settings, account, client, 10.0) as shared:
        if shared is not None:
            shared.save(fresh)


def renewed(  # noqa: PLR0913, PLR0917  what a renewal on one machine has, and the shared tokens
    shared: SharedTokens,
    account: Account,
    client: TokenClient,
    here: CachedTokens | None,
    directory: str,
    renew: Renew,
) -> Secret:
    """Request a new access token for all machines. The caller holds both locks. Raises SmtpsetupError, OSError."""
    newest = shared.newest(here)
    is_theirs = newest is not None and bool(newest.refresh_token)
    before = newest._replace(replaces=digest("")) if newest and is_theirs else here
    try:
        secret = renew(before, keeps_refresh_token=not is_theirs)
    except SmtpsetupError:
        asked = token_cache.load(directory, account.name)
        if asked and asked.ask_again_at and newest:  # the pause is for all
            with suppress(SharedOutboxError):
                shared.save(newest._replace(ask_again_at=asked.ask_again_at))
        raise
    fresh = token_cache.load(directory, account.name)
    if fresh is None:
        return secret
    own = "" if client.is_app_only else fresh.refresh_token or stores.read(account, may_prompt=False).reveal()
    with suppress(SharedOutboxError):  # then this machine has the newest, which its next renewal shares
        shared.save(fresh._replace(refresh_token=own, replaces=""))
        if is_theirs:
            token_cache.save(directory, account.name, fresh._replace(refresh_token="", replaces=""))
    return secret
