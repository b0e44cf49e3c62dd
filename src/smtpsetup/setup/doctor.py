"""Whether an account will work at three in the morning: everything that cron needs, looked at one by one."""

from __future__ import annotations

import datetime
import os
import shlex
import shutil
import socket
import ssl
import stat
import sys
import time
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from smtpsetup.config import paths
from smtpsetup.core.errors import SmtpsetupError, reason_of
from smtpsetup.core.exit_codes import EX_CONFIG
from smtpsetup.core.i18n import decimal, ngettext
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import Auth, Queue
from smtpsetup.net import dial
from smtpsetup.oauth.access_token import days_ago, sign_in_age
from smtpsetup.outbox.database import OutboxDamagedError, file_in
from smtpsetup.outbox.store import Outbox
from smtpsetup.setup import schedule, unattended
from smtpsetup.setup.second_look import clock_is_ahead
from smtpsetup.state import private_dir

if TYPE_CHECKING:
    from collections.abc import Iterator

    from smtpsetup.config.account import Account
    from smtpsetup.oauth.access_token import SignInAge
    from smtpsetup.providers.table import Provider

_WRITTEN = datetime.datetime(2026, 11, 1, tzinfo=datetime.UTC)  # no clock that is right is before this
_CLOCK_SECONDS = 300.0  # off by more, and certificates, tokens and Date fields begin to suffer
_EXPIRES_SOON_DAYS = 14
_CONNECT_SECONDS = 5.0
_SLOW_SECONDS = 2.0
_USED_UP = 0.66  # of the days that a sign-in lives without use: two months of three
_ROOM = 50_000_000  # bytes
_MOST_LINKS = 40
_LONGEST_LINE = 4096  # bytes
_MACHINE_WIDE = "/usr/local/bin/smtpsetup-sendmail"  # where `pipx install --global` puts it
_SENDMAIL = ("/usr/sbin/sendmail", "/usr/lib/sendmail")


class FindingStatus(StrEnum):
    """How a thing that was looked at is."""

    OK = "ok"
    WARNING = "warning"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `error` is set for what is wrong, and decides the exit code."""

    check: str
    status: FindingStatus
    message: str
    hints: tuple[str, ...] = ()
    error: SmtpsetupError | None = None


def examine(account: Account | None, *, config: str | None, provider: Provider | None = None) -> Iterator[Finding]:
    """Look at one thing after the other. `provider` is who runs the account's server, where that is known."""
    yield _program()
    yield _state()
    yield from _outbox(account)
    yield _sendmail()
    yield _trust()
    if account is None:
        yield _clock("")
        return
    yield from _network(account)
    age = sign_in_age(account)  # the proof below uses it
    proof = unattended.log_in_as_cron(account, config=config)
    stages = {str(stage["stage"]): stage for stage in proof.result.get("stages", [])}
    yield _clock(str((stages.get("greeting", {}).get("reply") or {}).get("text", "")))
    yield _secret(account, proof)
    yield from _sign_in(account, age, provider)
    if not (proof.error and proof.error.code.startswith(("secret.", "config."))):
        yield _login(account, proof)
        yield from _certificate(proof.result.get("tls"))


def _ok(check: str, message: str) -> Finding:
    return Finding(check, FindingStatus.OK, message)


def _warning(check: str, message: str, *hints: str) -> Finding:
    return Finding(check, FindingStatus.WARNING, message, hints)


def _wrong(check: str, error: SmtpsetupError) -> Finding:
    return Finding(check, FindingStatus.WRONG, error.message, error.hints, error)


def _program() -> Finding:
    path = schedule.program()
    if shutil.which("smtpsetup", path=unattended.CRON_PATH):
        return _ok("program", _("cron finds smtpsetup."))
    return _ok(
        "program", _("Write {path} in crontabs: cron does not find smtpsetup by its name alone.").format(path=path)
    )


def _state() -> Finding:
    directory = paths.state_dir()
    if directory is None:
        return _wrong(
            "state",
            SmtpsetupError(
                "config.invalid", _("It is not known where your files are: HOME is not set."), hints=(_("Set HOME."),)
            ),
        )
    try:
        private_dir.prepare(directory)
        for name in os.listdir(directory):
            if os.path.isfile(os.path.join(directory, name)) or os.path.islink(os.path.join(directory, name)):
                private_dir.check_file(os.path.join(directory, name))
        probe = os.path.join(directory, f".doctor-{os.getpid()}")
        os.close(os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        os.unlink(probe)
        free = shutil.disk_usage(directory).free
    except private_dir.UnsafePathError as error:
        message = _("{path} cannot be trusted: {reason}.").format(path=error.filename, reason=reason_of(error))
        hint = _(
            "Look at it: `ls -ld {path}`. It must belong to you or to root, and nobody else may be able to change it: "
            "`chmod go-w {path}`."
        ).format(path=error.filename)
        return _wrong("state", SmtpsetupError("config.permissions", message, hints=(hint,)))
    except OSError as error:
        message = _("{path} cannot be written to: {reason}.").format(path=directory, reason=reason_of(error))
        return _wrong(
            "state",
            SmtpsetupError(
                "config.permissions",
                message,
                hints=(_("Look at who may write there: `ls -ld {path}`.").format(path=directory),),
            ),
        )
    if free < _ROOM:
        return _warning(
            "state", _("The disk that holds {path} is nearly full.").format(path=directory), _("Make room on it.")
        )
    return _ok("state", _("The outbox and the log can be written in {path}.").format(path=directory))


def _outbox(account: Account | None) -> Iterator[Finding]:
    directory = paths.state_dir()
    is_used = directory is not None and os.path.exists(file_in(directory))
    waiting = 0
    if is_used and directory is not None:
        try:
            with Outbox(directory) as opened:
                fault = opened.fault()
                mails = [] if fault else opened.mails()
        except OutboxDamagedError as error:
            fault, mails = error.path, []
        except OSError as error:
            message = _("The outbox {path} cannot be used: {reason}.").format(
                path=file_in(directory), reason=reason_of(error)
            )
            hint = _("Check the free space and the permissions there: `ls -ld {path}`.").format(path=directory)
            yield _wrong("outbox", SmtpsetupError("outbox.unavailable", message, hints=(hint,)))
            return
        if fault:
            message = _("The outbox is damaged: {reason}.").format(reason=fault)
            hint = _("Save what can be read of it: `smtpsetup outbox repair`.")
            yield _wrong("outbox", SmtpsetupError("outbox.damaged", message, hints=(hint,), exit_code=EX_CONFIG))
        else:
            waiting = sum(mail.next_attempt is not None for mail in mails)
            yield _mails(waiting, len(mails) - waiting)
    else:
        yield _mails(0, 0)
    scheduler = schedule.is_installed()
    if scheduler:
        yield _ok("timer", _("The outbox is flushed by {scheduler}.").format(scheduler=scheduler))
    elif account is None or account.queue is not Queue.NEVER or waiting:
        message = _("Nothing flushes the outbox: mail that cannot be sent at once stays there.")
        yield _warning("timer", message, _("Have it flushed every minute: `smtpsetup outbox schedule --install`."))


def _mails(waiting: int, held: int) -> Finding:
    if held:
        text = ngettext(
            "{n} mail in the outbox is not tried any more.", "{n} mails in the outbox are not tried any more.", held
        ).format(n=held)
        return _warning(
            "outbox", text, _("Look at them: `smtpsetup outbox list`; then `smtpsetup outbox retry` or `drop`.")
        )
    if not waiting:
        return _ok("outbox", _("The outbox is empty."))
    return _ok(
        "outbox", ngettext("{n} mail waits in the outbox.", "{n} mails wait in the outbox.", waiting).format(n=waiting)
    )


def _sendmail() -> Finding:
    found = next((path for path in _SENDMAIL if os.path.exists(path)), None)
    if found is None:
        message = _("There is no {path}: cron throws the output of its jobs away.").format(path=_SENDMAIL[0])
        return _warning("sendmail", message, *_hints_to_link(_SENDMAIL[0]))
    target = os.path.realpath(found)
    if os.path.basename(target) == "smtpsetup-sendmail":
        place = _place_of_others(found)
        if place is None:
            return _ok("sendmail", _("{path} is smtpsetup's.").format(path=found))
        message = _(
            "{path} belongs to smtpsetup, but users other than root can change {place}, and so what root runs."
        ).format(path=found, place=place)
        return _warning("sendmail", message, *_hints_to_link(found))
    if not os.path.islink(found):
        return _ok(
            "sendmail",
            _("{path} is another program: cron's own mail goes that way, not through smtpsetup.").format(path=found),
        )
    return _ok(
        "sendmail",
        _("{path} is {target}: cron's own mail goes that way, not through smtpsetup.").format(
            path=found, target=target
        ),
    )


def _hints_to_link(path: str) -> tuple[str, ...]:
    """How to let root's sendmail be ours.

    Where others than root could change ours, how to install it for the machine first.
    """
    own = shutil.which("smtpsetup-sendmail") or os.path.join(os.path.dirname(sys.argv[0]), "smtpsetup-sendmail")
    hints: tuple[str, ...] = ()
    if _place_of_others(own) is not None:
        own = _MACHINE_WIDE
        hints = (
            _(
                "Install smtpsetup for the whole machine. Run this in the directory that you installed it from: `sudo "
                "pipx install --global .`."
            ),
        )
    return (*hints, _("For cron's own mail, as root: `ln -sf {own} {path}`.").format(own=own, path=path))


def _place_of_others(program: str) -> str | None:
    """The first place on the way to a program, its interpreter and its modules that others than root can change.

    None where there is none.
    """
    modules = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    for path in (*_links(program), *_links(_interpreter_of(program)), *_links(sys.executable), modules):
        place = os.path.abspath(path)
        while True:
            try:
                info = os.lstat(place)
            except OSError:
                return place
            if info.st_uid != 0 or (info.st_mode & 0o022 and not stat.S_ISLNK(info.st_mode)):
                return place
            if place == os.path.dirname(place):
                break
            place = os.path.dirname(place)
    return None


def _links(path: str) -> Iterator[str]:
    """A path and, where links lead on, each of their places up to the last."""
    for _step in range(_MOST_LINKS):
        yield path
        if not os.path.islink(path):
            yield os.path.realpath(path)
            return
        path = os.path.join(os.path.dirname(path), os.readlink(path))


def _interpreter_of(program: str) -> str:
    """What a script names in its first line; the program itself where it is none."""
    try:
        with open(program, "rb") as file:
            first = file.readline(_LONGEST_LINE)
    except OSError:
        return program
    words = first[2:].split() if first.startswith(b"#!") else []
    return os.fsdecode(words[0]) if words else program


def _trust() -> Finding:
    context = ssl.create_default_context()
    where = ssl.get_default_verify_paths()
    chosen = os.environ.get("SSL_CERT_FILE")
    has_directory = bool(where.capath and os.path.isdir(where.capath) and os.listdir(where.capath))
    count = context.cert_store_stats()["x509_ca"]
    if count or has_directory:
        return _ok("trust", _("The certificate authorities are in {path}.").format(path=where.cafile or where.capath))
    message = _("No certificate authorities are found in {path}: every server would be refused.").format(
        path=chosen or where.openssl_cafile
    )
    hint = _("Unset SSL_CERT_FILE.") if chosen else _("Install them: `apt-get install ca-certificates`.")
    return _wrong("trust", SmtpsetupError("tls.untrusted", message, hints=(hint,)))


def _network(account: Account) -> Iterator[Finding]:
    """The resolver, and each address family that the host has."""
    host, port = account.server.host, account.server.port
    started = time.monotonic()
    try:
        addresses = dial.resolve(host, port, dial.Deadline(_CONNECT_SECONDS * 2), dial.look_up_from_environment())
    except (OSError, UnicodeError) as error:
        code = "dns.temporary" if isinstance(error, TimeoutError) else "dns.not-found"
        message = _("The resolver does not find {host}: {reason}.").format(host=host, reason=reason_of(error))
        yield _wrong("dns", SmtpsetupError(code, message, hints=(_("Look at the network and at /etc/resolv.conf."),)))
        return
    seconds = time.monotonic() - started
    if seconds > _SLOW_SECONDS:
        hint = _("Look at the first name server in /etc/resolv.conf: it does not answer.")
        yield _warning(
            "dns", _("The resolver takes {n} seconds to find {host}.").format(n=decimal(seconds, 1), host=host), hint
        )
    else:
        yield _ok("dns", _("{host} is found in {n} ms.").format(host=host, n=round(seconds * 1000)))
    for check, name, family in (("ipv4", "IPv4", socket.AF_INET), ("ipv6", "IPv6", socket.AF_INET6)):
        yield _family(account, check, name, [address for address in addresses if address[0] == family])


def _family(account: Account, check: str, name: str, addresses: list[dial.SockAddress]) -> Finding:
    if not addresses:
        return _ok(
            check,
            _("{host} has no address for {family}: no connection over it is needed.").format(
                host=account.server.host, family=name
            ),
        )
    try:
        dial.race(addresses, dial.Deadline(_CONNECT_SECONDS)).close()
    except OSError as error:
        message = _("{server} is not reached over {family}: {reason}.").format(
            server=account.server, family=name, reason=reason_of(error)
        )
        return _warning(
            check,
            message,
            _(
                "Another address of the host is used where there is one. If none is reached, it is the network or a "
                "firewall."
            ),
        )
    return _ok(check, _("{server} is reached over {family}.").format(server=account.server, family=name))


def _clock(greeting: str) -> Finding:
    ahead = clock_is_ahead(greeting)
    hint = _("Set it by the network: `timedatectl set-ntp true`.")
    if ahead is not None and abs(ahead) > _CLOCK_SECONDS:
        return _warning(
            "clock",
            _("This machine's clock differs from the server's by {n} minutes.").format(n=round(abs(ahead) / 60)),
            hint,
        )
    if datetime.datetime.now(datetime.UTC) < _WRITTEN:
        return _warning(
            "clock", _("This machine's clock is wrong: it shows a day before this program was written."), hint
        )
    if ahead is not None:
        return _ok("clock", _("The clock agrees with the server's."))
    return _ok("clock", _("The clock shows a time that can be right; the server gives none to compare it with."))


def _secret(account: Account, proof: unattended.Proof) -> Finding:
    if account.auth is Auth.NONE:
        return _ok("secret", _("The account needs no password."))
    if proof.error and proof.error.code.startswith(("secret.", "config.")):
        return _wrong("secret", proof.error)
    return _ok(
        "secret",
        _("The password is read without a person and without a desktop ({place}).").format(
            place=account.secret.described()
        ),
    )


def _sign_in(account: Account, age: SignInAge | None, provider: Provider | None) -> Iterator[Finding]:
    """How long the sign-in with OAuth2 still works without being used."""
    if age is None or account.oauth2 is None:
        return
    limit = account.oauth2.unused_days
    endpoints = provider.oauth2 if provider else None
    login = _("Sign in again: `smtpsetup login {account}`.").format(account=shlex.quote(account.name))
    if limit and age.unused > limit * _USED_UP:
        message = _("The sign-in was last used {when}; after {limit} days without use it is dead.").format(
            when=days_ago(age.unused), limit=limit
        )
        yield _warning("sign-in", message, _("Send a mail with it, or run `smtpsetup test`."), login)
    elif endpoints and age.signed_in is not None and age.signed_in < endpoints.testing_days:
        message = _(
            "You signed in {when}. A program that is still in testing at the provider loses its sign-in after {limit} "
            "days."
        )
        publish = _("Look at its status there, and publish it: {url}").format(
            url=provider.oauth2.register_url if provider and provider.oauth2 else ""
        )
        yield _warning("sign-in", message.format(when=days_ago(age.signed_in), limit=endpoints.testing_days), publish)
    else:
        yield _ok("sign-in", _("The sign-in was last used {when}.").format(when=days_ago(age.unused)))


def _login(account: Account, proof: unattended.Proof) -> Finding:
    if proof.error:
        return _wrong("login", proof.error)
    return _ok("login", _("The login at {server} works as cron would make it.").format(server=account.server))


def _certificate(facts: dict[str, Any] | None) -> Iterator[Finding]:
    if not facts or not facts.get("not_after"):
        return
    day = str(facts["not_after"])[:10]
    left = (datetime.date.fromisoformat(day) - datetime.datetime.now(datetime.UTC).date()).days
    if left <= _EXPIRES_SOON_DAYS:
        message = ngettext(
            "The server's certificate expires in {n} day ({day}).",
            "The server's certificate expires in {n} days ({day}).",
            left,
        )
        yield _warning(
            "certificate",
            message.format(n=left, day=day),
            _("Whoever runs the server must renew it; ask them if it is not done a week before."),
        )
    else:
        yield _ok("certificate", _("The server's certificate is valid until {day}.").format(day=day))
