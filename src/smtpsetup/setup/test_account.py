"""A login and a real test mail, stage by stage, for `test` and wherever settings are proved."""

from __future__ import annotations

import datetime
import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from smtpsetup.core.failure import Kind, StageResult, TransportError
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import Stage, StageStatus
from smtpsetup.diagnosis.diagnose import diagnose, error_code
from smtpsetup.message.compose import Draft, Mailbox, compose, new_message_id, parse_mailboxes
from smtpsetup.message.delivery import Delivery
from smtpsetup.message.message import Envelope
from smtpsetup.setup.second_look import second_look

if TYPE_CHECKING:
    from collections.abc import Callable

    from smtpsetup.config.account import Account
    from smtpsetup.core.errors import SmtpsetupError
    from smtpsetup.core.model import Secret, Server
    from smtpsetup.discovery.candidates import Candidate
    from smtpsetup.net.tls import TlsFacts
    from smtpsetup.providers.row import Provider
    from smtpsetup.sending.context import Context
    from smtpsetup.sending.transport import Session

DEADLINE_SECONDS = 90.0
_ABOUT_THE_SENDER = ("auth.", "limit.", "mail.", "rcpt.relay-denied")  # servers may refuse a sender at RCPT only


@dataclass(frozen=True, slots=True)
class AccountTestReport:
    """The result of each stage and what was learned. `error` is None where everything worked.

    `message_id` is None where no test mail was handed over. `alternative` is another server of the same provider that
    the second look found working.
    """

    account: Account
    stages: tuple[StageResult, ...]
    capabilities: tuple[str, ...]
    tls: TlsFacts | None
    message_id: str | None
    to: str | None
    error: SmtpsetupError | None
    alternative: Server | None = None


class Watch(Protocol):
    """What shows a test while it runs."""

    def update(self, result: StageResult) -> None:
        """Show a stage that is over."""

    def start_second_look(self) -> None:
        """Show that a failure is being looked into."""


def run_test(  # noqa: PLR0913  the parameters of a test, with defaults that suit most callers
    context: Context,
    secret: Secret | None,
    *,
    provider: Provider | None = None,
    to: str | None = None,
    login_only: bool = False,
    is_saved: bool = True,
    watch: Watch | None = None,
    ask_owner: Callable[[], Candidate | None] | None = None,
) -> AccountTestReport:
    """Log in and send a test mail to `to` or the account's own address; with `login_only`, prove the sender instead.

    A failure is looked into (`second_look`) before it is explained. `is_saved` is whether the account is in the
    configuration. Raises SmtpsetupError for a malformed `to` only.
    """
    account = context.account
    planned = context.transport.planned_stages(account, login_only=login_only)
    stages: list[StageResult] = []
    recipient = None if login_only else parse_mailboxes(to or account.address)[0]
    session = context.session(DEADLINE_SECONDS, functools.partial(_keep, stages, watch))
    sent_to = recipient.address.wire if recipient else None
    message_id = None if recipient is None else new_message_id(_sender(account).address.domain)
    error, evidence = None, None
    try:
        with session:
            session.open(secret)
            if recipient is not None and message_id is not None:
                _send_test_mail(session, account, recipient, message_id)
            else:
                _prove_sender(session, provider)
    except TransportError as failed:
        if watch:
            watch.start_second_look()
        evidence = second_look(failed.failure, account, provider, ask_owner)
        error = diagnose(
            failed.failure, account, provider, is_saved=is_saved, evidence=evidence, recipient=sent_to or ""
        )
    was_handed_over = any(result.stage is Stage.DATA for result in stages)
    return AccountTestReport(
        account,
        _in_order(stages, planned),
        tuple(sorted(session.capabilities)),
        session.tls_facts,
        message_id if was_handed_over else None,
        sent_to,
        error,
        evidence.alternative if evidence else None,
    )


def _prove_sender(session: Session, provider: Provider | None) -> None:
    """Prove that the account may send from its own address. Raises TransportError where it may not.

    What passes by itself, or is about the recipient alone, is no fault of the account: that was its own address.
    """
    try:
        session.prove_sender()
    except TransportError as error:
        failure = error.failure
        is_temporary = failure.reply is not None and failure.reply.is_temporary
        if failure.kind is not Kind.REPLY or (failure.stage is Stage.MAIL and not is_temporary):
            raise
        if not is_temporary and error_code(failure, provider).startswith(_ABOUT_THE_SENDER):
            raise


def _keep(stages: list[StageResult], watch: Watch | None, result: StageResult) -> None:
    if result.stage in (Stage.EHLO, Stage.TLS):  # repeated after STARTTLS; the last result counts
        stages[:] = [earlier for earlier in stages if earlier.stage is not result.stage]
    stages.append(result)
    if watch:
        watch.update(result)


def _in_order(stages: list[StageResult], planned: tuple[Stage, ...]) -> tuple[StageResult, ...]:
    """The results in the planned order, stages that were not reached as skipped."""
    reached = {result.stage for result in stages}
    skipped = (StageResult(stage, StageStatus.SKIPPED, 0.0) for stage in planned if stage not in reached)
    return tuple(
        sorted((*stages, *skipped), key=lambda result: planned.index(result.stage) if result.stage in planned else -1)
    )


def _sender(account: Account) -> Mailbox:
    return Mailbox(account.from_name, parse_mailboxes(account.address)[0].address)


def _send_test_mail(session: Session, account: Account, recipient: Mailbox, message_id: str) -> None:
    sender = _sender(account)
    now = datetime.datetime.now(datetime.UTC).astimezone()
    text = _(
        "This mail was sent by `smtpsetup test`. That it is here proves that the settings work.\n\n"
        "Server: {server}\nUser name: {username}\nTime: {time}\n"
    )
    draft = Draft(
        sender,
        to=(recipient,),
        subject=_("Test mail from smtpsetup: sending works"),
        text=text.format(
            server=account.server, username=account.username, time=now.isoformat(sep=" ", timespec="seconds")
        ),
        headers=(("Auto-Submitted", "auto-generated"),),
    )
    message = compose(draft, now=now, message_id=message_id)
    session.deliver(Delivery(Envelope(sender.address.wire, draft.recipients), message, message_id), lockstep=True)
