"""Saving a proven account and its secret, both or neither; and forgetting them."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from smtpsetup import accounts, credentials
from smtpsetup.errors import SmtpsetupError
from smtpsetup.model import Auth
from smtpsetup.secret_source import Store
from smtpsetup.workflows.access_token import forget_tokens, keep_first, without_renewal

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from smtpsetup.account import Account
    from smtpsetup.config_text import StrPath
    from smtpsetup.model import Secret
    from smtpsetup.oauth2 import Tokens


@dataclass(frozen=True, slots=True)
class Saved:
    """What saving came to. `left_behind` is where an earlier secret of the account is still, `""` where nothing is: it could not be deleted there."""

    is_default: bool
    left_behind: str


def save(  # noqa: PLR0913  what there is to save
    path: StrPath, account: Account, secret: Secret | None, *, make_default: bool, may_prompt: bool = False, tokens: Tokens | None = None
) -> Saved:
    """Save the account, and the secret (None where there is none to keep) in the place that the account names; `tokens` are those of a sign-in.

    With `may_prompt` a keyring may ask the person to unlock it.

    Raises SmtpsetupError or OSError; then the configuration and the keyring are as they were.
    """
    config = accounts.load(path)
    earlier = config.accounts.get(account.name)
    make_default = make_default or not config.default
    with _undisturbed(account, earlier):
        _save_both(path, account, secret, make_default=make_default, may_prompt=may_prompt)
        if account.oauth2 and tokens:
            keep_first(account, account.oauth2, tokens)
        elif earlier and earlier.oauth2 and not account.oauth2:
            forget_tokens(account.name)
        is_elsewhere = earlier is not None and earlier.auth is not Auth.NONE and earlier.secret != account.secret
        left_behind = "" if earlier is None or not is_elsewhere or _forgotten(earlier) else earlier.secret.described()
    return Saved(make_default or config.default == account.name, left_behind)


def _undisturbed(*accounts: Account | None) -> AbstractContextManager[None]:
    signed_in = next((account for account in accounts if account and account.oauth2), None)
    return without_renewal(signed_in) if signed_in else nullcontext()


def _save_both(path: StrPath, account: Account, secret: Secret | None, *, make_default: bool, may_prompt: bool) -> None:
    before = credentials.store(account, secret, may_prompt=may_prompt) if secret is not None else None
    try:
        accounts.save(path, account, make_default=make_default)
    except BaseException:
        if secret is not None:
            _restore(account, before)
        raise


def remove(path: StrPath, account: Account, *, keep_secret: bool, may_prompt: bool = False) -> bool:
    """Remove an account and, unless told to keep it, its secret where that is kept here; whether a secret was removed. Raises as `save`."""
    with _undisturbed(account):
        secret = None
        if not keep_secret and account.secret.store is Store.KEYRING:
            try:
                secret = credentials.read(account, may_prompt=may_prompt)
            except SmtpsetupError as error:
                if error.code != "secret.missing":
                    raise
            else:
                credentials.forget(account)
        try:
            accounts.remove(path, account.name)
        except BaseException:
            if secret is not None:
                credentials.store(account, secret)
            raise
        had_file = not keep_secret and account.secret.store is Store.FILE and credentials.forget(account)
        forget_tokens(account.name)
    return secret is not None or had_file


def forget_secret(account: Account, *, may_prompt: bool) -> bool:
    """Forget what logs an account in, where that is kept here; whether there was anything. Raises SmtpsetupError or OSError."""
    with _undisturbed(account):
        forgotten = credentials.forget(account, may_prompt=may_prompt)
        forget_tokens(account.name)
    return forgotten


def _restore(account: Account, before: Secret | None) -> None:
    if before is not None:
        credentials.store(account, before)
    else:
        credentials.forget(account)


def _forgotten(earlier: Account) -> bool:
    """Whether nothing of an earlier account is kept here any more; where that cannot be done, the person is told."""
    try:
        credentials.forget(earlier)
    except (SmtpsetupError, OSError):
        return False
    return True
