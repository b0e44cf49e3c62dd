"""The access token of an account, renewed before it expires: by one process, however many need it."""

from __future__ import annotations

import errno
import functools
import shlex
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, NamedTuple

from smtpsetup.config import accounts, paths
from smtpsetup.config.secret_source import Store
from smtpsetup.core.errors import ExplainedOSError, SmtpsetupError, reason_of
from smtpsetup.core.exit_codes import EX_TEMPFAIL
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.i18n import ngettext
from smtpsetup.core.model import Auth, Secret
from smtpsetup.credentials import stores
from smtpsetup.oauth import token_cache

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from smtpsetup.config.account import Account
    from smtpsetup.core.oauth_types import TokenClient, Tokens

_LOCK_SECONDS = 60.0  # two requests to the token endpoint, at their slowest
_DAY = 86_400.0
_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def secret_for(account: Account, *, may_prompt: bool) -> Secret:
    """What the account logs in with: its secret, or with OAuth2 an access token. Raises SmtpsetupError."""
    if account.auth is not Auth.OAUTH2:
        return stores.read(account, may_prompt=may_prompt)
    if account.oauth2 is None:
        return _from_command(account, may_prompt=may_prompt)
    cached = _load(account)
    if cached and cached.is_good(token_cache.owner_of(account, account.oauth2), time.time()):
        return Secret(cached.access_token)
    return _refreshed(account, account.oauth2, may_prompt=may_prompt, refused=None)


def renewed(account: Account, refused: Secret, *, may_prompt: bool = False) -> Secret | None:
    """A token other than the one that the server refused, None if there is no other. Raises SmtpsetupError."""
    if account.oauth2 is None:
        fresh = _from_command(account, may_prompt=may_prompt)
    else:
        fresh = _refreshed(account, account.oauth2, may_prompt=may_prompt, refused=refused.reveal())
    return None if fresh == refused else fresh


def fresh_secret_for(account: Account, *, may_prompt: bool) -> Secret:
    """As `secret_for`, but renews the access token even if it has not expired: this proves that it can be renewed."""
    if account.auth is not Auth.OAUTH2 or account.oauth2 is None:
        return secret_for(account, may_prompt=may_prompt)
    cached = _load(account)
    return _refreshed(account, account.oauth2, may_prompt=may_prompt, refused=cached.access_token if cached else None)


def _from_command(account: Account, *, may_prompt: bool) -> Secret:
    """The access token that the user's command prints. A secret in another store is no access token."""
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


def _load(account: Account) -> token_cache.CachedTokens | None:
    with _explained_os_errors():
        return token_cache.load(_directory(), account.name)


def _save(account: Account, tokens: token_cache.CachedTokens) -> None:
    with _explained_os_errors():
        token_cache.save(_directory(), account.name, tokens)


@contextmanager
def _explained_os_errors() -> Iterator[None]:
    """Turn an OSError of the token's file into a SmtpsetupError."""
    try:
        yield
    except ExplainedOSError as error:  # of a shared outbox: the mail can wait until it is back
        told = error.explained()
        told.exit_code = EX_TEMPFAIL
        raise told from error
    except OSError as error:
        raise _explained(error) from error


def _explained(error: OSError) -> SmtpsetupError:
    message = _("The token in {path} cannot be read or written: {reason}.").format(
        path=error.filename, reason=reason_of(error)
    )
    if error.errno in _DISK_ERRORS:
        return SmtpsetupError(
            "auth.temporary",
            message,
            hints=(_("Make room on the disk; the sign-in is kept as it is."),),
            exit_code=EX_TEMPFAIL,
        )
    return SmtpsetupError(
        "config.permissions",
        message,
        hints=(_("Look at who may: `ls -l {path}`.").format(path=shlex.quote(str(error.filename))),),
    )


def _refreshed(account: Account, client: TokenClient, *, may_prompt: bool, refused: str | None) -> Secret:
    directory = _directory()
    owner = token_cache.owner_of(account, client)
    with without_renewal(account):
        cached = _load(account)  # another process may have renewed it meanwhile
        if cached and cached.access_token != refused and cached.is_good(owner, time.time()):
            return Secret(cached.access_token)
        _check_unchanged(account)
        renew = functools.partial(_renew(client), account, client, directory=directory, may_prompt=may_prompt)
        settings = accounts.outbox_of(account.config_file)
        with _explained_os_errors():
            if settings.is_shared:
                from smtpsetup.oauth import shared_tokens  # for a shared outbox only

                with shared_tokens.locked(settings, account, client, _LOCK_SECONDS) as shared:
                    if shared is not None:
                        theirs = shared.load()
                        if theirs and theirs.access_token != refused and theirs.is_good(owner, time.time()):
                            token_cache.save(directory, account.name, theirs._replace(refresh_token="", replaces=""))
                            return Secret(theirs.access_token)
                        return shared_tokens.renewed(shared, account, client, cached, directory, renew)
            return renew(cached)


def _renew(client: TokenClient) -> Callable[..., Secret]:
    """The function that requests a new access token of this client. Most sends need none."""
    if client.is_app_only:
        from smtpsetup.oauth.app_only import renewed
    else:
        from smtpsetup.oauth.refresh import renewed
    return renewed


def _check_unchanged(account: Account) -> None:
    """Raise SmtpsetupError if the account's settings have changed since they were read: so may have its secret."""
    if not account.config_file:
        return
    config = accounts.load_named(account.config_file)
    now = config.accounts.get(account.name)
    if now is None or (now.auth, now.oauth2, now.secret) != (account.auth, account.oauth2, account.secret):
        message = _("The settings of {account} have just been changed.").format(account=account.name)
        raise SmtpsetupError("auth.temporary", message, hints=(_("Run the command again."),), exit_code=EX_TEMPFAIL)


@contextmanager
def without_renewal(account: Account) -> Iterator[None]:
    """Keep other processes from renewing the account's token. Raises SmtpsetupError.

    Otherwise the refresh token of an earlier sign-in could overwrite that of a new one, or come back after a removal.
    """
    with ExitStack() as stack:
        try:
            with _explained_os_errors():
                stack.enter_context(token_cache.locked(_directory(), account.name, _LOCK_SECONDS))
        except token_cache.StillLockedError as error:
            message = _("Another process has been asking for a token for a minute.")
            hints = (_("Try again later."),)
            raise SmtpsetupError("auth.temporary", message, hints=hints, exit_code=EX_TEMPFAIL) from error
        yield


def forget_tokens(account: str) -> None:
    """Delete the cached tokens of an account. Raises SmtpsetupError."""
    directory = paths.state_dir()
    if directory is not None:
        with _explained_os_errors():
            token_cache.forget(directory, account)


@contextmanager
def saving_tokens(account: Account, client: TokenClient, tokens: Tokens) -> Iterator[None]:
    """Cache the access token of a new sign-in; restore the earlier state if the body fails. Raises SmtpsetupError."""
    before = _load(account)
    now = time.time()
    owner = token_cache.owner_of(account, client)
    _save(account, token_cache.CachedTokens(tokens.access_token, tokens.expires_at, owner, now, now))
    try:
        yield
    except BaseException:
        if before:
            _save(account, before)
        else:
            forget_tokens(account.name)
        raise


class SignInAge(NamedTuple):
    """Days since the refresh token was last used, and since the sign-in (None if that is not known)."""

    unused: float
    signed_in: float | None


def days_ago(days: float) -> str:
    """The age in words, such as "3 days ago"."""
    n = int(days)
    return ngettext("{n} day ago", "{n} days ago", n).format(n=n) if n > 0 else _("today")


def sign_in_age(account: Account) -> SignInAge | None:
    """The age of an account's sign-in, None if it has none or its age is not known. Raises SmtpsetupError."""
    cached = _load(account) if account.oauth2 and paths.state_dir() else None
    if cached is None:
        return None
    now = time.time()
    signed_in = (now - cached.signed_in_at) / _DAY if cached.signed_in_at else None
    return SignInAge((now - cached.refreshed_at) / _DAY, signed_in)
