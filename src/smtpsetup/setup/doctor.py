"""The checks of `doctor`: everything that sending from cron needs."""

from __future__ import annotations

import datetime
import os
import shlex
import shutil
import socket
import ssl
import time
from typing import TYPE_CHECKING, Any

from smtpsetup.config import paths
from smtpsetup.config.outbox_settings import ON_THIS_MACHINE, OutboxSettings
from smtpsetup.core.errors import SmtpsetupError, reason_of
from smtpsetup.core.exit_codes import EX_CONFIG, EX_TEMPFAIL, EXIT_CODES
from smtpsetup.core.i18n import decimal, ngettext
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import Auth, Queue
from smtpsetup.net import dial
from smtpsetup.oauth.access_token import days_ago, sign_in_age
from smtpsetup.outbox.disposition import is_of_account
from smtpsetup.outbox.errors import OutboxDamagedError
from smtpsetup.outbox.sqlite.database import file_in
from smtpsetup.outbox.sqlite.store import SqliteOutbox
from smtpsetup.sending.transports.smtp import proxy_for
from smtpsetup.setup import outbox_errors, schedule, unattended
from smtpsetup.setup.app_secret_check import app_secret_findings
from smtpsetup.setup.findings import ok, warning, wrong
from smtpsetup.setup.second_look import clock_offset
from smtpsetup.setup.sendmail_check import check_sendmail
from smtpsetup.setup.shared_outbox_check import shared_outbox_findings
from smtpsetup.state import private_dir

if TYPE_CHECKING:
    from collections.abc import Iterator

    from smtpsetup.config.account import Account
    from smtpsetup.net.proxy import Proxy
    from smtpsetup.oauth.access_token import SignInAge
    from smtpsetup.outbox.mail import Mail
    from smtpsetup.providers.row import Provider
    from smtpsetup.setup.findings import Finding

_WRITTEN = datetime.datetime(2026, 11, 1, tzinfo=datetime.UTC)  # a clock before this is wrong
_CLOCK_SECONDS = 300.0  # with a larger error, certificates, tokens and Date fields begin to fail
_EXPIRES_SOON_DAYS = 14
_CONNECT_SECONDS = 5.0
_SLOW_SECONDS = 2.0
_USED_UP = 0.66  # of the days that a sign-in lives without use: two months of three
_FREE_BYTES = 50_000_000


def examine(
    account: Account | None,
    *,
    config: str | None,
    provider: Provider | None = None,
    has_relay: bool = False,
    outbox: OutboxSettings = ON_THIS_MACHINE,
) -> Iterator[Finding]:
    """Run the checks of the machine one by one, then those of the account where there is one.

    `config` is the path that --config named; `provider` that of the account's server, where it is known. `has_relay`
    says that the relay is running, which sends what waits. `outbox` is where mail waits.
    """
    yield _program()
    yield _state()
    yield from _outbox(account, has_relay=has_relay)
    directory = paths.state_dir()
    if outbox.is_shared and directory is not None:
        has_sign_ins = account is not None and account.oauth2 is not None
        yield from shared_outbox_findings(outbox, directory, has_sign_ins=has_sign_ins)
    yield check_sendmail()
    yield _trust()
    if account is None:
        yield _clock("")
        return
    yield from examine_account(account, config=config, provider=provider)


def examine_account(account: Account, *, config: str | None, provider: Provider | None) -> Iterator[Finding]:
    """Run the checks of an account one by one; the arguments are those of `examine`."""
    yield from _network(account)
    age = sign_in_age(account)  # before the login below uses the sign-in
    proof = unattended.log_in_as_cron(account, config=config)
    stages = {str(stage["stage"]): stage for stage in proof.result.get("stages", [])}
    yield _clock(str((stages.get("greeting", {}).get("reply") or {}).get("text", "")))
    yield _secret(account, proof)
    yield from _sign_in(account, age, provider)
    if not proof.failed_before_login:
        yield _login(account, proof)
        yield from _certificate(proof.result.get("tls"))


def _program() -> Finding:
    path = schedule.program()
    if shutil.which("smtpsetup", path=unattended.CRON_PATH):
        return ok("program", _("cron finds smtpsetup."))
    return ok(
        "program", _("Write {path} in crontabs: cron does not find smtpsetup by its name alone.").format(path=path)
    )


def _state() -> Finding:
    directory = paths.state_dir()
    if directory is None:
        return wrong(
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
        return wrong("state", outbox_errors.untrusted_path(error))
    except OSError as error:
        message = _("{path} cannot be written to: {reason}.").format(path=directory, reason=reason_of(error))
        hint = _("Look at who may write there: `ls -ld {path}`.").format(path=shlex.quote(directory))
        return wrong("state", SmtpsetupError("config.permissions", message, hints=(hint,)))
    if free < _FREE_BYTES:
        return warning(
            "state", _("The disk that holds {path} is nearly full.").format(path=directory), _("Make room on it.")
        )
    return ok("state", _("The outbox and the log can be written in {path}.").format(path=directory))


def _outbox(account: Account | None, *, has_relay: bool) -> Iterator[Finding]:
    directory = paths.state_dir()
    fault = ""
    mails: list[Mail] = []
    if directory is not None and os.path.exists(file_in(directory)):
        try:
            with SqliteOutbox(directory) as opened:
                fault = opened.fault()
                mails = [] if fault else opened.mails()
        except OutboxDamagedError as error:
            fault = error.path
        except OSError as error:
            yield wrong("outbox", outbox_errors.unavailable(file_in(directory), directory, error))
            return
    waiting = sum(mail.next_attempt is not None for mail in mails)
    if fault:
        message = _("The outbox is damaged: {reason}.").format(reason=fault)
        hint = _("Save what can be read of it: `smtpsetup outbox repair`.")
        yield wrong("outbox", SmtpsetupError("outbox.damaged", message, hints=(hint,), exit_code=EX_CONFIG))
    else:
        yield _mails(waiting, len(mails) - waiting, sorted({mail.last_code for mail in mails if _is_stuck(mail)}))
    scheduler = "smtpsetup relay" if has_relay else schedule.installed_scheduler()
    if scheduler:
        yield ok("timer", _("The outbox is flushed by {scheduler}.").format(scheduler=scheduler))
    elif account is None or account.queue is not Queue.NEVER or waiting:
        message = _("Nothing flushes the outbox: mail that cannot be sent at once stays there.")
        yield warning(
            "timer", message, _("Have it flushed every minute: `{command}`.").format(command=schedule.how_to())
        )


def _is_stuck(mail: Mail) -> bool:
    """Whether a mail waits because its account cannot send, and does not pass by itself."""
    return (
        mail.next_attempt is not None
        and is_of_account(mail.last_code)
        and EXIT_CODES.get(mail.last_code) != EX_TEMPFAIL
    )


def _mails(waiting: int, held: int, codes: list[str]) -> Finding:
    if held:
        text = ngettext(
            "{n} mail in the outbox is not tried any more.", "{n} mails in the outbox are not tried any more.", held
        ).format(n=held)
        return warning(
            "outbox", text, _("Look at them: `smtpsetup outbox list`; then `smtpsetup outbox retry` or `drop`.")
        )
    if codes:
        text = ngettext("{n} mail waits in the outbox.", "{n} mails wait in the outbox.", waiting).format(n=waiting)
        cause = _("An account cannot send: {codes}.").format(codes=", ".join(codes))
        return warning("outbox", f"{text} {cause}", _("See why: `smtpsetup outbox flush --now`."))
    if not waiting:
        return ok("outbox", _("The outbox is empty."))
    return ok(
        "outbox", ngettext("{n} mail waits in the outbox.", "{n} mails wait in the outbox.", waiting).format(n=waiting)
    )


def _trust() -> Finding:
    context = ssl.create_default_context()
    where = ssl.get_default_verify_paths()
    chosen = os.environ.get("SSL_CERT_FILE")
    has_directory = bool(where.capath and os.path.isdir(where.capath) and os.listdir(where.capath))
    count = context.cert_store_stats()["x509_ca"]
    if count or has_directory:
        return ok("trust", _("The certificate authorities are in {path}.").format(path=where.cafile or where.capath))
    message = _("No certificate authorities are found in {path}: every server would be refused.").format(
        path=chosen or where.openssl_cafile
    )
    hint = _("Unset SSL_CERT_FILE.") if chosen else _("Install them: `apt-get install ca-certificates`.")
    return wrong("trust", SmtpsetupError("tls.untrusted", message, hints=(hint,)))


def _network(account: Account) -> Iterator[Finding]:
    """The resolver, and a connection over each address family of the host."""
    through = proxy_for(account)
    if through is not None:
        yield _proxy(through)
        return
    host, port = account.server.host, account.server.port
    started = time.monotonic()
    try:
        addresses = dial.resolve(host, port, dial.Deadline(_CONNECT_SECONDS * 2), dial.look_up_from_environment())
    except (OSError, UnicodeError) as error:
        code = "dns.temporary" if isinstance(error, TimeoutError) else "dns.not-found"
        message = _("The resolver does not find {host}: {reason}.").format(host=host, reason=reason_of(error))
        yield wrong("dns", SmtpsetupError(code, message, hints=(_("Look at the network and at /etc/resolv.conf."),)))
        return
    seconds = time.monotonic() - started
    if seconds > _SLOW_SECONDS:
        hint = _("Look at the first name server in /etc/resolv.conf: it does not answer.")
        yield warning(
            "dns", _("The resolver takes {n} seconds to find {host}.").format(n=decimal(seconds, 1), host=host), hint
        )
    else:
        yield ok("dns", _("{host} is found in {n} ms.").format(host=host, n=round(seconds * 1000)))
    for check, name, family in (("ipv4", "IPv4", socket.AF_INET), ("ipv6", "IPv6", socket.AF_INET6)):
        yield _family(account, check, name, [address for address in addresses if address[0] == family])


def _proxy(through: Proxy) -> Finding:
    """Whether the proxy can be reached; what is behind it is found out by the login."""
    deadline = dial.Deadline(_CONNECT_SECONDS)
    try:
        dial.race(dial.resolve(through.host, through.port, deadline, dial.look_up_from_environment()), deadline).close()
    except (OSError, UnicodeError) as error:
        message = _("The proxy {proxy} is not reached: {reason}.").format(proxy=through, reason=reason_of(error))
        hint = _("Check `proxy` in the account, or the variable `ALL_PROXY`.")
        return wrong("proxy", SmtpsetupError("connect.proxy-failed", message, hints=(hint,)))
    return ok("proxy", _("The proxy {proxy} is reached.").format(proxy=through))


def _family(account: Account, check: str, name: str, addresses: list[dial.SockAddress]) -> Finding:
    if not addresses:
        return ok(
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
        return warning(
            check,
            message,
            _(
                "Another address of the host is used where there is one. If none is reached, it is the network or a "
                "firewall."
            ),
        )
    return ok(check, _("{server} is reached over {family}.").format(server=account.server, family=name))


def _clock(greeting: str) -> Finding:
    ahead = clock_offset(greeting)
    hint = _("Set it by the network: `timedatectl set-ntp true`.")
    if ahead is not None and abs(ahead) > _CLOCK_SECONDS:
        return warning(
            "clock",
            _("This machine's clock differs from the server's by {n} minutes.").format(n=round(abs(ahead) / 60)),
            hint,
        )
    if datetime.datetime.now(datetime.UTC) < _WRITTEN:
        return warning(
            "clock", _("This machine's clock is wrong: it shows a day before this program was written."), hint
        )
    if ahead is not None:
        return ok("clock", _("The clock agrees with the server's."))
    return ok("clock", _("The clock shows a time that can be right; the server gives none to compare it with."))


def _secret(account: Account, proof: unattended.Proof) -> Finding:
    if account.auth is Auth.NONE:
        return ok("secret", _("The account needs no password."))
    if proof.error and proof.failed_before_login:
        return wrong("secret", proof.error)
    return ok(
        "secret",
        _("The password is read without a person and without a desktop ({place}).").format(
            place=account.secret.described()
        ),
    )


def _sign_in(account: Account, age: SignInAge | None, provider: Provider | None) -> Iterator[Finding]:
    """Whether the sign-in with OAuth2 is about to expire: unused, or of a client in testing."""
    if account.oauth2 is not None and account.oauth2.is_app_only:
        yield from app_secret_findings(account, account.oauth2)
        return
    if age is None or account.oauth2 is None:
        return
    limit = account.oauth2.unused_days
    endpoints = provider.oauth2 if provider else None
    login = _("Sign in again: `smtpsetup login {account}`.").format(account=shlex.quote(account.name))
    if limit and age.unused > limit * _USED_UP:
        message = _("The sign-in was last used {when}; after {limit} days without use it is dead.").format(
            when=days_ago(age.unused), limit=limit
        )
        yield warning("sign-in", message, _("Send a mail with it, or run `smtpsetup test`."), login)
    elif endpoints and age.signed_in is not None and age.signed_in < endpoints.testing_days:
        message = _(
            "You signed in {when}. A program that is still in testing at the provider loses its sign-in after {limit} "
            "days."
        )
        publish = _("Look at its status there, and publish it: {url}").format(url=endpoints.register_url)
        yield warning("sign-in", message.format(when=days_ago(age.signed_in), limit=endpoints.testing_days), publish)
    else:
        yield ok("sign-in", _("The sign-in was last used {when}.").format(when=days_ago(age.unused)))


def _login(account: Account, proof: unattended.Proof) -> Finding:
    if proof.error:
        return wrong("login", proof.error)
    return ok("login", _("The login at {server} works as cron would make it.").format(server=account.server))


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
        yield warning(
            "certificate",
            message.format(n=left, day=day),
            _("Whoever runs the server must renew it; ask them if it is not done a week before."),
        )
    else:
        yield ok("certificate", _("The server's certificate is valid until {day}.").format(day=day))
