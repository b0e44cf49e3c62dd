"""The access token of an account, asked for anew when it is about to end: once, however many processes need it."""

from __future__ import annotations

import errno
import shlex
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, NamedTuple

from smtpsetup.config import accounts, paths
from smtpsetup.config.secret_source import Store
from smtpsetup.core.errors import SmtpsetupError, reason_of
from smtpsetup.core.exit_codes import EX_TEMPFAIL
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.i18n import ngettext
from smtpsetup.core.model import Auth, Secret
from smtpsetup.credentials import stores
from smtpsetup.oauth import token_cache

if TYPE_CHECKING:
    from collections.abc import Iterator

    from smtpsetup.config.account import Account
    from smtpsetup.core.oauth_types import TokenClient, Tokens

_LOCK_SECONDS = 60.0  # two answers of the token endpoint, at their slowest
_DAY = 86_400.0
_OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def secret_for(account: Account, *, may_prompt: bool) -> Secret:
    """What proves who is sending: the account's secret, or an access token where it signs in with OAuth2.

    Raises SmtpsetupError.
    """
    if account.auth is not Auth.OAUTH2:
        return stores.read(account, may_prompt=may_prompt)
    if account.oauth2 is None:
        return _from_command(account, may_prompt=may_prompt)
    kept = _kept(account)
    if kept and kept.is_good(token_cache.owner_of(account, account.oauth2), time.time()):
        return Secret(kept.access_token)
    return _refreshed(account, account.oauth2, may_prompt=may_prompt, refused=None)


def renewed(account: Account, refused: Secret, *, may_prompt: bool = False) -> Secret | None:
    """Another token than the one that the server has refused, None where there is no other. Raises SmtpsetupError."""
    if account.oauth2 is None:
        fresh = _from_command(account, may_prompt=may_prompt)
    else:
        fresh = _refreshed(account, account.oauth2, may_prompt=may_prompt, refused=refused.reveal())
    return None if fresh == refused else fresh


def newest(account: Account, *, may_prompt: bool) -> Secret:
    """The same as `secret_for`, but an access token is asked for anew, also where the one that there is would do.

    That it can be is what counts.
    """
    if account.auth is not Auth.OAUTH2 or account.oauth2 is None:
        return secret_for(account, may_prompt=may_prompt)
    kept = _kept(account)
    return _refreshed(account, account.oauth2, may_prompt=may_prompt, refused=kept.access_token if kept else None)


def _from_command(account: Account, *, may_prompt: bool) -> Secret:
    """The access token that a command of the person's prints.

    What is kept elsewhere is no access token, and is sent to nobody.
    """
    if account.secret.store is Store.COMMAND:
        token = stores.read(account, may_prompt=may_prompt)
        if all("!" <= char <= "~" for char in token.reveal()):  # RFC 6750 section 2.1
            return token
        raise SmtpsetupError(
            "secret.command-failed",
            _("What the command `{command}` prints is no access token.").format(command=account.secret.reference),
            hints=(_("Let it print the token alone, on one line."),),
        )
    raise SmtpsetupError(
        "auth.oauth2-required",
        _("The account {account} is to sign in with OAuth2, and nobody has signed in yet.").format(
            account=account.name
        ),
        hints=(_("Sign in: `smtpsetup login {account}`.").format(account=shlex.quote(account.name)),),
    )


def _directory() -> str:
    directory = paths.state_dir()
    if directory is None:
        raise SmtpsetupError(
            "config.invalid", _("It is not known where to keep the token: HOME is not set."), hints=(_("Set HOME."),)
        )
    return directory


def _kept(account: Account) -> token_cache.Kept | None:
    try:
        return token_cache.load(_directory(), account.name)
    except OSError as error:
        raise _not_kept(error) from error


def _not_kept(error: OSError) -> SmtpsetupError:
    message = _("The token in {path} cannot be read or written: {reason}.").format(
        path=error.filename, reason=reason_of(error)
    )
    if error.errno in _OF_THE_DISK:
        return SmtpsetupError(
            "auth.temporary",
            message,
            hints=(_("Make room on the disk; the sign-in is kept as it is."),),
            exit_code=EX_TEMPFAIL,
        )
    return SmtpsetupError(
        "config.permissions", message, hints=(_("Look at who may: `ls -l {path}`.").format(path=error.filename),)
    )


def _refreshed(account: Account, client: TokenClient, *, may_prompt: bool, refused: str | None) -> Secret:
    directory = _directory()
    with without_renewal(account):
        kept = _kept(account)  # another process may have asked meanwhile
        if kept and kept.is_good(token_cache.owner_of(account, client), time.time()) and kept.access_token != refused:
            return Secret(kept.access_token)
        from smtpsetup.oauth import refresh  # most sends have a token that is good

        _check_as_read(account)
        try:
            return refresh.renewed(account, client, kept, directory, may_prompt=may_prompt)
        except OSError as error:
            raise _not_kept(error) from error


def _check_as_read(account: Account) -> None:
    """Raise SmtpsetupError where the account was changed since it was read.

    Its secret may be another one now, for somebody else.
    """
    if not account.config_file:
        return
    config = accounts.load_named(account.config_file)
    now = config.accounts.get(account.name)
    if now is None or (now.auth, now.oauth2, now.secret) != (account.auth, account.oauth2, account.secret):
        message = _("The settings of {account} have just been changed.").format(account=account.name)
        raise SmtpsetupError("auth.temporary", message, hints=(_("Run the command again."),), exit_code=EX_TEMPFAIL)


def _still_locked() -> SmtpsetupError:
    message = _("Another process has been asking for a token for a minute.")
    return SmtpsetupError("auth.temporary", message, hints=(_("Try again later."),), exit_code=EX_TEMPFAIL)


@contextmanager
def without_renewal(account: Account) -> Iterator[None]:
    """Let nobody renew the account's token meanwhile.

    A new refresh token must not come after another sign-in, or after none is wanted.

    Raises SmtpsetupError.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(token_cache.locked(_directory(), account.name, _LOCK_SECONDS))
        except token_cache.StillLockedError as error:
            raise _still_locked() from error
        except OSError as error:
            raise _not_kept(error) from error
        yield


def forget_tokens(account: str) -> None:
    """Throw away the access token of an account. Raises SmtpsetupError."""
    directory = paths.state_dir()
    if directory is not None:
        try:
            token_cache.forget(directory, account)
        except OSError as error:
            raise _not_kept(error) from error


@contextmanager
def first_kept(account: Account, client: TokenClient, answer: Tokens) -> Iterator[None]:
    """Keep the access token of a sign-in while its refresh token and the account are saved.

    Where that fails, what there was is there again.

    Raises SmtpsetupError.
    """
    before = _kept(account)
    _keep_first(account, client, answer)
    try:
        yield
    except BaseException:
        if before:
            _keep(account, before)
        else:
            forget_tokens(account.name)
        raise


def _keep_first(account: Account, client: TokenClient, answer: Tokens) -> None:
    now = time.time()
    _keep(
        account,
        token_cache.Kept(answer.access_token, answer.expires_at, token_cache.owner_of(account, client), now, now),
    )


def _keep(account: Account, kept: token_cache.Kept) -> None:
    try:
        token_cache.save(_directory(), account.name, kept)
    except OSError as error:
        raise _not_kept(error) from error


class SignInAge(NamedTuple):
    """Days since the refresh token was last used, and since somebody signed in (None where that is not known)."""

    unused: float
    signed_in: float | None


def days_ago(days: float) -> str:
    """In words, such as "3 days ago"."""
    n = int(days)
    return ngettext("{n} day ago", "{n} days ago", n).format(n=n) if n > 0 else _("today")


def sign_in_age(account: Account) -> SignInAge | None:
    """How old an account's sign-in is, None for one without or whose age is not known. Raises SmtpsetupError."""
    kept = _kept(account) if account.oauth2 and paths.state_dir() else None
    if kept is None:
        return None
    now = time.time()
    return SignInAge((now - kept.refreshed_at) / _DAY, (now - kept.signed_in_at) / _DAY if kept.signed_in_at else None)
