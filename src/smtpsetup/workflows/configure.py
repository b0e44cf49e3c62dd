"""Saving a proven account and its secret: both, or neither."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from smtpsetup import accounts, credentials
from smtpsetup.errors import SmtpsetupError
from smtpsetup.model import Auth
from smtpsetup.secret_source import Store
from smtpsetup.workflows.access_token import forget_tokens

if TYPE_CHECKING:
    from smtpsetup.account import Account
    from smtpsetup.config_text import StrPath
    from smtpsetup.model import Secret


@dataclass(frozen=True, slots=True)
class Saved:
    """What saving came to. `left_in_keyring` says that an earlier password of the account could not be deleted there."""

    is_default: bool
    left_in_keyring: bool


def save(path: StrPath, account: Account, secret: Secret | None, *, make_default: bool, may_prompt: bool = False) -> Saved:
    """Save the account, and the secret (None where there is none to keep) in the place that the account names.

    With `may_prompt` a keyring may ask the person to unlock it.

    Raises SmtpsetupError or OSError; then the configuration and the keyring are as they were.
    """
    config = accounts.load(path)
    earlier = config.accounts.get(account.name)
    make_default = make_default or not config.default
    before = credentials.store(account, secret, may_prompt=may_prompt) if secret is not None else None
    try:
        accounts.save(path, account, make_default=make_default)
    except BaseException:
        if secret is not None:
            _restore(account, before)
        raise
    had_one = earlier is not None and earlier.auth is not Auth.NONE and earlier.secret.store is Store.KEYRING
    moved_away = had_one and account.secret.store is not Store.KEYRING
    return Saved(make_default or config.default == account.name, moved_away and not _forgotten(earlier))


def remove(path: StrPath, account: Account, *, keep_secret: bool, may_prompt: bool = False) -> bool:
    """Remove an account and, unless told to keep it, its secret from the keyring; whether a secret was removed. Raises as `save`."""
    secret = None
    if not keep_secret and account.secret.store is Store.KEYRING:
        try:
            secret = credentials.read(account, may_prompt=may_prompt)
        except SmtpsetupError as error:
            if error.code != "secret.missing":
                raise
        else:
            credentials.forget(account.secret, account.name)
    try:
        accounts.remove(path, account.name)
    except BaseException:
        if secret is not None:
            credentials.store(account, secret)
        raise
    forget_tokens(account.name)
    return secret is not None


def _restore(account: Account, before: Secret | None) -> None:
    if before is not None:
        credentials.store(account, before)
    else:
        credentials.forget(account.secret, account.name)


def _forgotten(earlier: Account | None) -> bool:
    """Whether the keyring holds nothing of this account any more; where it cannot be asked, the person is told."""
    if earlier is None:
        return True
    try:
        credentials.forget(earlier.secret, earlier.name)
    except SmtpsetupError:
        return False
    return True
