"""`smtpsetup-sendmail`: what scripts call as /usr/sbin/sendmail. Without click and rich, so that it starts in the time of a small script."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from smtpsetup.account import Account
    from smtpsetup.accounts import Config
    from smtpsetup.addresses import Address
    from smtpsetup.errors import SmtpsetupError
    from smtpsetup.local_names import Aliases
    from smtpsetup.providers import Provider
    from smtpsetup.raw_mail import Field, Sender
    from smtpsetup.spool import Spool
    from smtpsetup.transport.submit import Delivery

_EX_USAGE = 64
_EX_SOFTWARE = 70
_EX_INTERRUPTED = 130
# what other sendmails know too: d e h L m n O p G U I A E X are taken and have no effect here
_FLAGS = "a:b:A:B:C:d:e:f:F:h:iL:mnN:o:O:p:r:R:tvV:X:GIUE"


_TEXTS = {"-b": "mode", "-a": "account", "-C": "config", "-f": "sender", "-r": "sender", "-F": "full_name"}
_SWITCHES = {"-t": "from_header", "-i": "ignores_dots", "-v": "is_verbose"}


class Options:
    """What was asked for. `mode` is sendmail's -b letter."""

    def __init__(self, mode: str) -> None:
        self.mode = mode
        self.account: str | None = None
        self.config: str | None = None
        self.sender: str | None = None
        self.full_name = ""
        self.from_header = False
        self.ignores_dots = False
        self.is_verbose = False
        self.recipients: tuple[str, ...] = ()


def main() -> None:
    """The console script."""
    try:
        sys.exit(run(sys.argv[1:], os.path.basename(sys.argv[0])))
    except KeyboardInterrupt:
        sys.exit(_EX_INTERRUPTED)


def run(arguments: list[str], name: str = "smtpsetup-sendmail") -> int:
    """Do what sendmail would be asked for; the exit code (sysexits)."""
    from smtpsetup.errors import SmtpsetupError

    if arguments == ["--help"]:
        _say(_usage())
        return 0
    try:
        options = parse(arguments, name)
    except ValueError as error:
        _say(f"smtpsetup-sendmail: {error}")
        return _EX_USAGE
    try:
        return _done(options)
    except SmtpsetupError as error:
        _tell(error)
        return error.exit_code
    except OSError as error:
        _say(f"smtpsetup-sendmail: {error.filename or ''} {error.strerror or error}")
        return 74
    except Exception as error:  # noqa: BLE001  the boundary: a bug is told as one, never as a traceback
        _say(f"smtpsetup-sendmail: internal.bug: {type(error).__name__}")
        if options.is_verbose:
            import traceback

            traceback.print_tb(error.__traceback__)
        return _EX_SOFTWARE


def _usage() -> str:
    from smtpsetup.i18n import gettext as _

    return _(
        "smtpsetup-sendmail [-t] [-i] [-f ADDRESS] [-F NAME] [-a ACCOUNT] [-C FILE] [-v] [--] [RECIPIENT]...\n"
        "smtpsetup-sendmail -bp | -q\n\n"
        "Sends the message on standard input, as /usr/sbin/sendmail does. -t takes the recipients from its header, -i lets a line with a\n"
        "single dot be part of it, -bp lists the outbox, -q sends what waits there. Set an account up with `smtpsetup configure`."
    )


def _done(options: Options) -> int:
    if options.mode == "i":
        return 0
    return _smtpsetup(options, {"p": "list", "q": "flush"}[options.mode]) if options.mode in ("p", "q") else _send(options)


def _say(line: str) -> None:
    """A line on standard error; that nobody can read it is no reason to stop."""
    with suppress(OSError, ValueError):
        sys.stderr.write(f"{line}\n")


def parse(arguments: list[str], name: str) -> Options:
    """The options of a command line. Raises ValueError with a text for people."""
    import getopt

    from smtpsetup.i18n import gettext as _

    options = Options({"mailq": "p", "newaliases": "i"}.get(name, "m"))
    known = [argument for argument in arguments if not (argument.startswith("-q") or argument in ("-bd", "-Ac", "-Am"))]
    flushes = any(argument.startswith("-q") for argument in arguments[: arguments.index("--") if "--" in arguments else None])
    try:
        flags, recipients = getopt.gnu_getopt(known, _FLAGS)
    except getopt.GetoptError as error:
        raise ValueError(_("{error}. Known are: -t -i -f -F -a -C -v -bp -q; others of sendmail's have no effect.").format(error=error)) from error
    for flag, value in flags:
        if flag in _TEXTS:
            setattr(options, _TEXTS[flag], value)
        elif flag in _SWITCHES or (flag, value) == ("-o", "i"):
            setattr(options, _SWITCHES.get(flag, "ignores_dots"), True)
        elif flag == "-I":
            options.mode = "i"
    if flushes and not recipients and not options.from_header:
        options.mode = "q"
    if options.mode not in ("m", "p", "q", "i"):
        raise ValueError(_("-b{mode} is not possible: this sendmail only hands mail over.").format(mode=options.mode))
    options.recipients = tuple(part.strip() for recipient in recipients for part in recipient.split(",") if part.strip())
    return options


def _smtpsetup(options: Options, command: str) -> int:
    """What the outbox commands do better."""
    from smtpsetup.cli.main import run as run_smtpsetup

    config = ["--config", options.config] if options.config else []
    verbose = ["-v"] if options.is_verbose else []
    return run_smtpsetup([*config, "outbox", command, *verbose, "--no-input"])


def _send(options: Options) -> int:
    from smtpsetup import credentials, spool
    from smtpsetup.raw_mail import split
    from smtpsetup.workflows.post import Policy, post

    config = _config(options)
    lines = spool.with_crlf(spool.pieces(sys.stdin.buffer))
    fields, rest = split(lines if options.ignores_dots else spool.up_to_dot(lines))
    account = _account(config, options, fields)
    aliases = _aliases(config, account)
    delivery = _delivery(account, options, aliases, fields, spool.Spool(rest))
    subject = next((field.value for field in fields if field.key == "subject"), "")
    result = post(
        account,
        delivery,
        subject=subject,
        policy=Policy(account.queue, account.hold_unknown, keep_refused=True),
        read_secret=lambda: credentials.read(account, may_prompt=False),
        find_provider=lambda: _provider(account),
        trace=_say if options.is_verbose else None,
        log=config.log,
    )
    if result.error:
        _tell(result.error)
        return result.error.exit_code
    return 0


def _config(options: Options) -> Config:
    from smtpsetup import accounts, paths

    chosen = options.config or os.environ.get("SMTPSETUP_CONFIG")
    own = paths.config_file(chosen)
    return accounts.load(own) if chosen else accounts.load_with_system(own, paths.system_config_file())


def _account(config: Config, options: Options, fields: tuple[Field, ...]) -> Account:
    """The account that was named, else the one whose address sends, else the default one. Raises SmtpsetupError (`config.no-account`)."""
    if options.account:
        return config.account(options.account)
    from smtpsetup.raw_mail import entries, values

    senders = [options.sender or "", *(entry.address for value in values(fields, "from") for entry in entries(value))]
    for sender in senders:
        for account in config.accounts.values():
            if sender and sender.lower() == account.address.lower():
                return account
    return config.account(None)


def _aliases(config: Config, account: Account) -> Aliases:
    from smtpsetup.local_names import Aliases

    return Aliases(config.aliases, config.aliases_file, _user(), account.address, os.uname().nodename if hasattr(os, "uname") else "")


def _user() -> str:
    """The caller's login name."""
    try:
        import pwd  # POSIX only

        return pwd.getpwuid(os.getuid()).pw_name.lower()
    except (ImportError, KeyError):
        return os.environ.get("LOGNAME", os.environ.get("USER", "")).lower()


def _delivery(account: Account, options: Options, aliases: Aliases, fields: tuple[Field, ...], body: Spool) -> Delivery:
    """The message, made right, and its envelope. Raises SmtpsetupError."""
    import datetime

    from smtpsetup import raw_body, raw_mail
    from smtpsetup.compose import new_message_id
    from smtpsetup.message import Envelope
    from smtpsetup.transport.submit import Delivery

    named = [*options.recipients, *(raw_mail.recipients_in(fields) if options.from_header else [])]
    recipients = tuple(dict.fromkeys(address for recipient in named for address in aliases.resolved(recipient)))
    if not recipients:
        raise _no_recipient(from_header=options.from_header)
    envelope_sender, sender = _senders(account, options, aliases, fields)
    message_id = next(iter(raw_mail.values(fields, "message-id")), "") or new_message_id(sender.mailbox.address.domain)
    now = datetime.datetime.now(datetime.UTC).astimezone()
    done = raw_mail.completed(fields, sender, now=now, message_id=message_id)
    message = raw_body.made_right(done, body)
    return Delivery(Envelope(envelope_sender, recipients), message, message_id)


def _senders(account: Account, options: Options, aliases: Aliases, fields: tuple[Field, ...]) -> tuple[str, Sender]:
    """Who sends: the envelope's address, and what From says. What the account may not use becomes its own address, with answers to the original."""
    from smtpsetup import addresses, raw_mail
    from smtpsetup.compose import Mailbox

    own = addresses.parse(account.address)
    given = next((entry for value in raw_mail.values(fields, "from") for entry in raw_mail.entries(value)), raw_mail.Entry("", options.sender or ""))
    name = options.full_name or raw_mail.decoded(given.name) or account.from_name
    original = None
    if given.address and not aliases.is_local(given.address):
        try:
            original = addresses.parse(given.address)
        except addresses.MalformedAddressError:
            original = None
    if original is None or original == own:
        sender = raw_mail.Sender(Mailbox(name, own))
    elif _may_use(account, original, own):
        sender = raw_mail.Sender(Mailbox(name, original))
    else:
        sender = raw_mail.Sender(Mailbox(name, own), Mailbox(name, original))
    if options.sender is not None and not options.sender.strip("<>") and account.allowed_from == "any":
        return "", sender
    if options.sender and not aliases.is_local(options.sender):
        wanted = addresses.parse(options.sender.strip("<>"))
        return (wanted if _may_use(account, wanted, own) else own).wire, sender
    return sender.mailbox.address.wire, sender


def _may_use(account: Account, address: Address, own: Address) -> bool:
    if account.allowed_from == "any" or address == own:
        return True
    return account.allowed_from == "domain" and address.domain == own.domain


def _no_recipient(*, from_header: bool) -> SmtpsetupError:
    from smtpsetup.errors import SmtpsetupError
    from smtpsetup.i18n import gettext as _

    hint = _("Name them in To, Cc or Bcc.") if from_header else _("Name them on the command line, or let them be read from the message: -t.")
    return SmtpsetupError("config.invalid", _("The mail has no recipient."), hints=(hint,), exit_code=_EX_USAGE)


def _provider(account: Account) -> Provider | None:
    """Who runs the account's server, for a better explanation; None where that cannot be found out."""
    import datetime

    from smtpsetup import paths
    from smtpsetup.errors import SmtpsetupError
    from smtpsetup.providers import Table

    try:
        table = Table(datetime.datetime.now(datetime.UTC).astimezone().date(), own_files=paths.own_provider_tables())
        return table.by_id(account.provider) if account.provider else table.by_server_host(account.server.host, account.address.rpartition("@")[2])
    except SmtpsetupError:
        return None


def _tell(error: SmtpsetupError) -> None:
    """The error on standard error, for a person or a log: what happened, the server's words, why, what to do."""
    reply = error.failure.reply if error.failure else None
    lines = [f"smtpsetup-sendmail: {error.message} ({error.code})", *([str(reply)] if reply else []), *error.causes]
    _say("\n  ".join(lines))
    for hint in error.hints:
        _say(f"  -> {hint}")
