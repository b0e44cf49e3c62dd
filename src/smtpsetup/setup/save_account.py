"""Saving an account and its secret, both or neither; and removing them."""

from __future__ import annotations

import os
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from smtpsetup.config import accounts, paths
from smtpsetup.config.secret_source import STORES, SecretSource, Store
from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.model import Auth
from smtpsetup.credentials import stores
from smtpsetup.oauth.access_token import forget_tokens, saving_tokens, without_renewal
from smtpsetup.state import login_stamp, signals

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from smtpsetup.config.account import Account
    from smtpsetup.core.model import Secret
    from smtpsetup.core.oauth_types import Tokens
    from smtpsetup.state.files import StrPath


@dataclass(frozen=True, slots=True)
class Saved:
    """The result of saving. `left_behind` is the place of an earlier secret that could not be deleted, else `""`."""

    is_default: bool
    left_behind: str


def save(  # noqa: PLR0913  the account with its secret and tokens, and how to save them
    path: StrPath,
    account: Account,
    secret: Secret | None,
    *,
    make_default: bool,
    may_prompt: bool = False,
    tokens: Tokens | None = None,
) -> Saved:
    """Save the account, and the secret (None where there is none to store) in the place that the account names.

    `tokens` are those of a sign-in. With `may_prompt` a keyring may ask the person to unlock it.

    Raises SmtpsetupError or OSError; then the configuration and the keyring are unchanged.
    """
    config = accounts.load(path)
    earlier = config.accounts.get(account.name)
    make_default = make_default or not config.default
    with _undisturbed(account, earlier):
        with saving_tokens(account, account.oauth2, tokens) if account.oauth2 and tokens else nullcontext():
            _save_both(path, account, secret, make_default=make_default, may_prompt=may_prompt)
        outbox = accounts.outbox_of(os.path.abspath(path))
        if outbox.is_shared and account.oauth2 and tokens:
            from smtpsetup.oauth import shared_tokens  # for a shared outbox only

            shared_tokens.share(outbox, account, account.oauth2, tokens)
        left_behind = _forget_earlier(earlier, account) if earlier else ""
    login_stamp.note(paths.state_dir())
    return Saved(make_default or config.default == account.name, left_behind)


def move(path: StrPath, account: Account, place: SecretSource, *, may_prompt: bool) -> tuple[Account, str]:
    """Move the secret to another place that smtpsetup writes. Raises as `save`.

    Returns the changed account, and what `Saved.left_behind` would be.
    """
    moved = account._replace(secret=place)
    with _undisturbed(account):
        secret = stores.read(account, may_prompt=may_prompt)
        _save_both(path, moved, secret, make_default=False, may_prompt=may_prompt)
        return moved, _forget_earlier(account, moved)


def _forget_earlier(earlier: Account, account: Account) -> str:
    """Delete the secret and tokens that `account` no longer uses. Returns the places where that failed, or `""`."""
    left = []
    if earlier.auth is not Auth.NONE and (earlier.secret != account.secret or account.auth is Auth.NONE):
        try:
            stores.forget(earlier)
        except (SmtpsetupError, OSError):
            left.append(earlier.secret.described())
    if earlier.oauth2 and not account.oauth2:
        try:
            forget_tokens(account.name)
        except SmtpsetupError:
            left.append(SecretSource(Store.FILE, os.path.join(paths.state_dir() or "", "tokens")).described())
    return "; ".join(left)


def _undisturbed(*accounts: Account | None) -> AbstractContextManager[None]:
    """Keep other processes from renewing a token, where one of the accounts signs in with OAuth2."""
    signed_in = next((account for account in accounts if account and account.oauth2), None)
    return without_renewal(signed_in) if signed_in else nullcontext()


def _save_both(path: StrPath, account: Account, secret: Secret | None, *, make_default: bool, may_prompt: bool) -> None:
    with signals.deferral() as hold_signals:
        hold_signals()  # an interruption between the two would leave the account with a secret of another kind
        before = stores.store(account, secret, may_prompt=may_prompt) if secret is not None else None
        try:
            accounts.save(path, account, make_default=make_default)
        except BaseException:
            if secret is not None:
                _restore(account, before)
            raise


def remove(path: StrPath, account: Account, *, keep_secret: bool, may_prompt: bool = False) -> bool:
    """Remove an account and, without `keep_secret`, its secret where smtpsetup keeps it.

    Returns whether a secret was removed. Raises as `save`.
    """
    keep_secret = keep_secret or account.auth is Auth.NONE  # it has none, and a keyring need not be there
    with _undisturbed(account):
        may_restore = not keep_secret and stores.is_kept_here(account)
        secret = _readable_secret(account, may_prompt=may_prompt) if may_restore else None
        forgotten = not keep_secret and stores.forget(account)
        try:
            accounts.remove(path, account.name)
        except BaseException:
            if secret is not None:
                stores.store(account, secret)
            raise
        if not keep_secret:
            forget_tokens(account.name)
    return forgotten


def _readable_secret(account: Account, *, may_prompt: bool) -> Secret | None:
    """The secret, to restore it after a failure; None where there is none, or its file cannot be read."""
    try:
        return stores.read(account, may_prompt=may_prompt)
    except SmtpsetupError as error:
        if error.code != "secret.missing" and not STORES[account.secret.store].is_path:
            raise
        return None


def forget_secret(account: Account, *, may_prompt: bool) -> bool:
    """Delete the account's secret and tokens. Returns whether there was a secret. Raises SmtpsetupError or OSError."""
    with _undisturbed(account):
        forgotten = stores.forget(account, may_prompt=may_prompt)
        forget_tokens(account.name)
    return forgotten


def _restore(account: Account, before: Secret | None) -> None:
    if before is not None:
        stores.store(account, before)
    else:
        stores.forget(account)
