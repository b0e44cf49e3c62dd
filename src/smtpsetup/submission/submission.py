"""A mail from another program: its account, its sender and recipients, and its corrected message."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, NamedTuple

from smtpsetup.address.address import MalformedAddressError, ascii_lower, parse_address
from smtpsetup.address.address_list import Entry, entries, not_understood, understood
from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.exit_codes import EX_USAGE
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import AllowedFrom
from smtpsetup.message import raw_body, raw_header
from smtpsetup.message.compose import Mailbox, new_message_id
from smtpsetup.message.delivery import Delivery
from smtpsetup.message.field_values import decoded_words, display_name
from smtpsetup.message.message import Envelope
from smtpsetup.outbox.disposition import waits
from smtpsetup.sending.context import context_for
from smtpsetup.sending.send_or_queue import Policy
from smtpsetup.sending.send_spooled import submit
from smtpsetup.submission.aliases import Aliases

if TYPE_CHECKING:
    from collections.abc import Callable

    from smtpsetup.address.address import Address
    from smtpsetup.config.account import Account
    from smtpsetup.config.accounts import Config
    from smtpsetup.message.raw_header import Field
    from smtpsetup.message.spool import Spool
    from smtpsetup.sending.send_one import SendResult


class Request(NamedTuple):
    """What the caller asked for.

    `sender` is -f (`""` for the null sender), `user` the caller's login name and `host` this machine's name. With
    `from_header`, the recipients come from the message's header, too. `config` is the path of the configuration that
    was named, `""` for the usual one.
    """

    recipients: tuple[str, ...]
    account: str | None
    sender: str | None
    full_name: str
    from_header: bool
    user: str
    host: str
    config: str = ""


class RawSubmitted(NamedTuple):
    """The result of `submit_raw`. `is_waiting` and `is_noted` are those of `Submitted`.

    `is_accepted` says that somebody got the mail, or that it is tried again without a person.
    `errors` has that of the mail itself first, then those of what could not be kept, then those of single recipients.
    """

    errors: list[SmtpsetupError]
    is_accepted: bool
    is_waiting: bool
    is_noted: bool


class Prepared(NamedTuple):
    """A mail that can be sent: its account, its delivery, and the recipients without a usable address.

    `sender` is the address in its From.
    """

    account: Account
    delivery: Delivery
    unreachable: dict[str, SmtpsetupError]
    sender: str


def prepared(config: Config, request: Request, fields: tuple[Field, ...], body: Spool) -> Prepared:
    """Choose the account, and correct the message and its envelope. Raises SmtpsetupError, OSError."""
    senders = _from(fields)
    account = _account(config, request, senders)
    aliases = _aliases(config, request, account)
    good, bad = _recipients(request, aliases, fields)
    sender = _sender(account, request, aliases, senders)
    delivery = _delivery(account, sender, fields, body)._replace(
        envelope=Envelope(_envelope_sender(account, request, aliases, sender), good),
        subject=decoded_words(next((field.value for field in fields if field.key == "subject"), "")),
    )
    return Prepared(account, delivery, bad, sender.mailbox.address.wire)


def submit_raw(
    config: Config,
    request: Request,
    fields: tuple[Field, ...],
    body: Spool,
    *,
    trace: Callable[[str], None] | None = None,
) -> RawSubmitted:
    """Send a mail or keep it. Raises SmtpsetupError where neither is possible, KeptError as `submit`."""
    account, delivery, bad, _sender_shown = prepared(config, request, fields, body)
    policy = Policy(account.queue, account.hold_unknown, keep_refused=True, config=request.config)
    policy = policy._replace(has_fallback=bool(account.fallback), outbox=config.outbox)
    done = submit(context_for(config, account, may_prompt=False, trace=trace), delivery, policy, bad)
    errors = [_with_number(done.result.error, done.result.outbox_id)] if done.result and done.result.error else []
    errors += done.not_kept
    errors += [_with_number(bad[recipient], number) for recipient, number in done.unreachable.items()]
    result = done.result
    is_accepted = result is not None and (bool(result.accepted) or _is_sent_later(result))
    return RawSubmitted(errors, is_accepted, is_waiting=done.is_waiting, is_noted=done.is_noted)


def _is_sent_later(result: SendResult) -> bool:
    """Whether a mail is in the outbox, to be sent without a person."""
    return result.outbox_id is not None and (result.postponed_by is None or waits(result.postponed_by))


def check_recipient(config: Config, request: Request, recipient: str) -> None:
    """Raise SmtpsetupError for a name that has no address, and for anything but one address."""
    check_is_one_address(recipient)
    resolve(config, request, recipient)


def check_is_one_address(recipient: str) -> None:
    """Raise SmtpsetupError (`config.address-malformed`) for anything but one address or local name."""
    found = entries(recipient)
    if len(found) != 1 or ('"' not in recipient and found[0].address != recipient.removesuffix(".")):
        raise not_understood(recipient)


def account_of(config: Config, request: Request) -> Account:
    """The account that a mail with this envelope goes through, whatever its header. Raises SmtpsetupError."""
    return _account(config, request, [])


def senders_of(fields: tuple[Field, ...]) -> list[str]:
    """The addresses in From and in the other fields that name a sender, but for those that cannot be understood."""
    named = (field for field in fields if field.key in ("from", "sender", "resent-from", "resent-sender"))
    return [entry.address for field in named for entry in understood(field.value)[0] if entry]


def resolve(config: Config, request: Request, recipient: str) -> list[str]:
    """The addresses that mail to a recipient goes to. Raises SmtpsetupError."""
    account = _account(config, request, [])
    aliases = _aliases(config, request, account)
    return [address for entry in entries(recipient) for address in aliases.resolved(entry.address)]


def _aliases(config: Config, request: Request, account: Account) -> Aliases:
    return Aliases(config.aliases, config.aliases_file, request.user, account.address, request.host)


def _with_number(error: SmtpsetupError, number: int | None) -> SmtpsetupError:
    """The error, with a hint that names the mail's number in the outbox, where it has one."""
    if number is not None and waits(error):
        hint = _(
            "The mail is kept in the outbox as number {number}, and is sent once that is mended: `smtpsetup outbox "
            "list`."
        )
        error.hints = (*error.hints, hint.format(number=number))
    elif number is not None:
        hint = _(
            "The mail is kept in the outbox as number {number}. To send it again: `smtpsetup outbox retry {number}`."
        )
        error.hints = (*error.hints, hint.format(number=number))
    return error


def _account(config: Config, request: Request, senders: list[Entry]) -> Account:
    """The account that was named, else the one of the sender's address, else the default one.

    Raises SmtpsetupError (`config.no-account`).
    """
    if request.account:
        return config.account(request.account)
    for sender in (_bare(request.sender), *(entry.address for entry in senders)):
        for account in config.accounts.values():
            if sender and sender.lower() == account.address.lower():
                return account
    return config.account(None)


def _bare(sender: str | None) -> str:
    return (sender or "").strip().removeprefix("<").removesuffix(">")


def _from(fields: tuple[Field, ...]) -> list[Entry]:
    """The entries of From; none where it cannot be understood, since it is rewritten."""
    try:
        return [entry for value in raw_header.values(fields, "from") for entry in entries(value)]
    except SmtpsetupError:
        return []


def _recipients(
    request: Request, aliases: Aliases, fields: tuple[Field, ...]
) -> tuple[tuple[str, ...], dict[str, SmtpsetupError]]:
    """The envelope recipients, and those without a usable address, each with the error. Raises SmtpsetupError."""
    named: list[str] = []
    good: dict[str, None] = {}
    bad: dict[str, SmtpsetupError] = {}
    for recipient in request.recipients:
        found, faults = understood(recipient)
        named += [entry.address for entry in found if entry]
        bad |= faults
    if request.from_header:
        in_header, faults = raw_header.recipients_in(fields)
        named += in_header
        bad |= faults
    for recipient in named:
        try:
            good.update(dict.fromkeys(aliases.resolved(recipient)))
        except SmtpsetupError as error:
            if error.code.startswith("config.invalid"):
                raise
            bad[recipient] = error
    if not good and not bad:
        hint = (
            _("Name them in To, Cc or Bcc.")
            if request.from_header
            else _("Name them on the command line, or let them be read from the message: -t.")
        )
        raise SmtpsetupError("config.invalid", _("The mail has no recipient."), hints=(hint,), exit_code=EX_USAGE)
    return tuple(good), bad


def _delivery(account: Account, sender: raw_header.Sender, fields: tuple[Field, ...], body: Spool) -> Delivery:
    """The corrected message, without its envelope. Raises OSError."""
    given = (value for value in raw_header.values(fields, "message-id") if value.isascii())
    message_id = next((value for value in given if value), "") or new_message_id(sender.mailbox.address.domain)
    kept = tuple(field for field in fields if field.key != "message-id" or field.value.isascii())
    now = datetime.datetime.now(datetime.UTC).astimezone()

    def is_own(address: str) -> bool:
        return may_send_from(account, address)

    message = raw_body.corrected(
        raw_header.normalize_header(kept, sender, now=now, message_id=message_id, is_own=is_own), body
    )
    return Delivery(Envelope("", ()), message, message_id)


def _sender(account: Account, request: Request, aliases: Aliases, senders: list[Entry]) -> raw_header.Sender:
    """The mailbox for From. The account's own replaces one that it may not use, which then goes into Reply-To."""
    own = parse_address(account.address)
    given = next(iter(senders), Entry("", _bare(request.sender)))
    name = display_name(given.name) or request.full_name
    original = _parsed(given.address, aliases)
    if original is not None and not _is_same(original, own):
        if _may_use(account, original, own):
            return raw_header.Sender(Mailbox(name, original))
        return raw_header.Sender(Mailbox(name or account.from_name, own), Mailbox(name, original))
    return raw_header.Sender(Mailbox(name or account.from_name, own))


def _envelope_sender(account: Account, request: Request, aliases: Aliases, sender: raw_header.Sender) -> str:
    """The envelope sender: -f where the account may use it, else the address in From."""
    own = parse_address(account.address)
    if request.sender is not None and not _bare(request.sender) and account.allowed_from is AllowedFrom.ANY:
        return ""
    wanted = _parsed(_bare(request.sender), aliases)
    if wanted is not None:
        return (wanted if _may_use(account, wanted, own) else own).wire
    return sender.mailbox.address.wire


def _parsed(address: str, aliases: Aliases) -> Address | None:
    """An Internet address, None for anything else."""
    if not address or aliases.is_local(address):
        return None
    try:
        return parse_address(address)
    except MalformedAddressError:
        return None


def _is_same(one: Address, other: Address) -> bool:
    return ascii_lower(one.wire) == ascii_lower(other.wire)


def may_send_from(account: Account, address: str) -> bool:
    """Whether an account may use an address as the sender (`allowed_from`)."""
    try:
        return _may_use(account, parse_address(address), parse_address(account.address))
    except MalformedAddressError:
        return False


def _may_use(account: Account, address: Address, own: Address) -> bool:
    if account.allowed_from is AllowedFrom.ANY or _is_same(address, own):
        return True
    return account.allowed_from is AllowedFrom.DOMAIN and address.domain == own.domain
