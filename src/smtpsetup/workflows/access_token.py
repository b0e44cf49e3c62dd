"""The access token of an account, asked for anew when it is about to end: once, however many processes need it."""

from __future__ import annotations

import errno
import shlex
import time
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from smtpsetup import credentials, paths, tokens
from smtpsetup.errors import EX_TEMPFAIL, SmtpsetupError, reason_of
from smtpsetup.i18n import gettext as _
from smtpsetup.i18n import ngettext
from smtpsetup.model import Auth, Secret
from smtpsetup.secret_source import Store

if TYPE_CHECKING:
    from smtpsetup.account import Account
    from smtpsetup.oauth2 import TokenClient, Tokens

_LOCK_SECONDS = 60.0  # two answers of the token endpoint, at their slowest
_DAY = 86_400.0
_OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
_WRITABLE = (Store.KEYRING, Store.FILE)


def secret_for(account: Account, *, may_prompt: bool) -> Secret:
    """What proves who is sending: the account's secret, or an access token where it signs in with OAuth2. Raises SmtpsetupError."""
    if account.auth is not Auth.OAUTH2:
        return credentials.read(account, may_prompt=may_prompt)
    if account.oauth2 is None:
        return _from_command(account, may_prompt=may_prompt)
    kept = _kept(account)
    if kept and kept.is_good(account.oauth2.client_id, time.time()):
        return Secret(kept.access_token)
    return _refreshed(account, account.oauth2, may_prompt=may_prompt, refused=None)


def renewed(account: Account, refused: Secret, *, may_prompt: bool = False) -> Secret:
    """Another token than the one that the server has refused. Raises SmtpsetupError."""
    if account.oauth2 is None:
        return _from_command(account, may_prompt=may_prompt)
    return _refreshed(account, account.oauth2, may_prompt=may_prompt, refused=refused.reveal())


def _from_command(account: Account, *, may_prompt: bool) -> Secret:
    """The access token that a command of the person's prints. What is kept elsewhere is no access token, and is sent to nobody."""
    if account.secret.store is Store.COMMAND:
        return credentials.read(account, may_prompt=may_prompt)
    raise SmtpsetupError(
        "auth.oauth2-required",
        _("The account {account} is to sign in with OAuth2, and nobody has signed in yet.").format(account=account.name),
        hints=(_("Sign in: `smtpsetup login {account}`.").format(account=shlex.quote(account.name)),),
    )


def _directory() -> str:
    directory = paths.state_dir()
    if directory is None:
        raise SmtpsetupError("config.invalid", _("It is not known where to keep the token: HOME is not set."), hints=(_("Set HOME."),))
    return directory


def _kept(account: Account) -> tokens.Kept | None:
    try:
        return tokens.load(_directory(), account.name)
    except OSError as error:
        raise _not_kept(error) from error


def _not_kept(error: OSError) -> SmtpsetupError:
    message = _("The token in {path} cannot be read or written: {reason}.").format(path=error.filename, reason=reason_of(error))
    if error.errno in _OF_THE_DISK:
        return SmtpsetupError("auth.temporary", message, hints=(_("Make room on the disk; the sign-in is kept as it is."),), exit_code=EX_TEMPFAIL)
    return SmtpsetupError("config.permissions", message, hints=(_("Look at who may: `ls -l {path}`.").format(path=error.filename),))


def _refreshed(account: Account, client: TokenClient, *, may_prompt: bool, refused: str | None) -> Secret:
    directory = _directory()
    try:
        with tokens.locked(directory, account.name, _LOCK_SECONDS):
            kept = tokens.load(directory, account.name)  # another process may have asked meanwhile
            if kept and kept.is_good(client.client_id, time.time()) and kept.access_token != refused:
                return Secret(kept.access_token)
            return _asked_for(account, client, kept, directory, may_prompt=may_prompt)
    except tokens.StillLockedError as error:
        raise SmtpsetupError(
            "auth.temporary", _("Another process has been asking for a token for a minute."), hints=(_("Try again later."),), exit_code=EX_TEMPFAIL
        ) from error
    except OSError as error:
        raise _not_kept(error) from error


def _asked_for(account: Account, client: TokenClient, kept: tokens.Kept | None, directory: str, *, may_prompt: bool) -> Secret:
    """A new access token. There is room for what comes with it before it is asked for: the refresh token that was used may be dead then."""
    from smtpsetup.workflows import refresh  # most sends have a token that is good

    stored = _refresh_token(account, may_prompt=may_prompt)
    current = kept.refresh_token if kept and kept.refresh_token and kept.replaces == _digest(stored) else stored
    with tokens.reserved(directory, account.name) as save_there:
        answer = refresh.refreshed(account, client, current)
        newest = answer.refresh_token or current
        now = time.time()
        signed_in_at = kept.signed_in_at if kept else 0.0
        fresh = tokens.Kept(answer.access_token, answer.expires_at, client.client_id, now, signed_in_at)
        if newest == stored:
            save_there(fresh)
            return Secret(answer.access_token)
        save_there(fresh._replace(refresh_token=newest, replaces=_digest(stored)))
    if account.secret.store in _WRITABLE:
        _move_to_its_place(account, newest, directory, fresh)
    return Secret(answer.access_token)


def _refresh_token(account: Account, *, may_prompt: bool) -> str:
    try:
        return credentials.read(account, may_prompt=may_prompt).reveal()
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


def _move_to_its_place(account: Account, refresh_token: str, directory: str, fresh: tokens.Kept) -> None:
    """Bring a new refresh token to where the account keeps it. Where that cannot be written now, it stays beside the access token, and serves."""
    with suppress(SmtpsetupError, OSError):
        credentials.store(account, Secret(refresh_token))
        tokens.save(directory, account.name, fresh)


def forget_tokens(account: str) -> None:
    """Throw away the access token of an account. Raises SmtpsetupError."""
    directory = paths.state_dir()
    if directory is not None:
        try:
            tokens.forget(directory, account)
        except OSError as error:
            raise _not_kept(error) from error


def let_access_token_end(account: Account) -> None:
    """Have the next process that needs an access token ask for a new one. Raises SmtpsetupError."""
    try:
        with tokens.locked(_directory(), account.name, _LOCK_SECONDS):
            kept = _kept(account)
            if kept:
                tokens.save(_directory(), account.name, kept._replace(expires_at=0.0))
    except tokens.StillLockedError:
        return  # one is asked for at this moment
    except OSError as error:
        raise _not_kept(error) from error


def keep_first(account: Account, client: TokenClient, answer: Tokens) -> None:
    """Keep the access token of a sign-in, whose refresh token is stored already. Raises SmtpsetupError."""
    now = time.time()
    try:
        tokens.save(_directory(), account.name, tokens.Kept(answer.access_token, answer.expires_at, client.client_id, now, now))
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
