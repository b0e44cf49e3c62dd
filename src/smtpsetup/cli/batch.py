"""`smtpsetup send --batch` and `--merge`."""

from __future__ import annotations

import hashlib
import io
import os
import sys
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, NamedTuple

import click

from smtpsetup.cli import views
from smtpsetup.cli.state import State, tell
from smtpsetup.config import paths
from smtpsetup.core.errors import ExplainedOSError, SmtpsetupError
from smtpsetup.core.exit_codes import EX_TEMPFAIL
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import Queue
from smtpsetup.sending.batch import Batch, Totals, usable_items
from smtpsetup.sending.batch_input import Item, LineError, json_lines
from smtpsetup.sending.drafts import Parts, delivery_of, draft_of, read_failed
from smtpsetup.sending.send_many import Run
from smtpsetup.state import input_file
from smtpsetup.state.batch_journal import BatchJournal, BusyError, Journal
from smtpsetup.terminal.streams import can_redraw

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from smtpsetup.config.account import Account
    from smtpsetup.core.model import Secret
    from smtpsetup.outbox.store import Outbox
    from smtpsetup.providers.row import Provider
    from smtpsetup.sending.context import Context
    from smtpsetup.sending.send_one import SendResult
    from smtpsetup.sending.send_or_queue import Policy

_SHOWN = 3  # mails of a dry run


class BatchOptions(NamedTuple):
    """Where the mails come from, and how they are to be sent.

    `seconds_between` is None for as fast as the provider allows. `root` is the directory that must hold the files
    which the mails name, None for any. `raw` is for a dry run: show the messages as they would be sent.
    """

    batch: str | None
    merge: str | None
    connections: int
    seconds_between: float | None
    restart: bool
    dry_run: bool
    raw: bool
    root: str | None


def send_many(state: State, account: Account, policy: Policy, options: BatchOptions, template: Parts) -> None:
    """Read and check every mail, then send them. Raises SmtpsetupError."""
    source, identity = _source(options, template)
    if policy.outbox.is_shared and policy.queue is Queue.ALWAYS and not options.dry_run:
        from smtpsetup.cli.batch_load import load_many  # for a shared outbox only

        load_many(state, account, policy, options, (source, f"{identity} {account.name}"))
        return
    items = usable_items(account, source())
    if options.merge and len(items) > 1 and template.to and not any("$" in recipient for recipient in template.to):
        tell(
            _("Every one of these mails goes to {names}. For a column of the table, write `--to '$column'`.").format(
                names=", ".join(template.to)
            )
        )
    if options.dry_run:
        _show_first(state, account, items, shows_raw=options.raw or not sys.stdout.isatty())
        return
    context = state.context(account)
    provider = context.find_provider()
    context = context._replace(find_provider=lambda: provider)  # looked for once
    _warn_of_daily_limit(provider, len(items))
    secret, stopped_by = _secret(context, policy)
    started = time.monotonic()
    failures: list[SmtpsetupError] = []
    with (
        _journal(policy, f"{identity} {account.name}") as (journal, outbox),
        progress(state, len(items), _sent_before(journal, items, restart=options.restart)) as bar,
    ):
        on_result = result_reporter(state, bar, failures)
        batch = Batch(context, journal, policy, total=len(items), on_result=on_result, outbox=outbox)
        run = _run(context, secret, batch, options, provider)
        try:
            with _shared_limits(outbox, account.name, run, provider):
                totals = batch.send(run, items, stopped_by)
        except KeyboardInterrupt:
            views.batch.interrupted(batch.totals, bar)
            raise
    finish(state, totals, failures, time.monotonic() - started)


@contextmanager
def _shared_limits(outbox: Outbox | None, account: str, run: Run, provider: Provider | None) -> Iterator[None]:
    """Keep the provider's limits together with other machines, where the outbox is shared. Raises SmtpsetupError."""
    if outbox is None:
        yield
        return
    run.pace = outbox.pace(account)
    most = provider.limit("connections") if provider else None
    with ExitStack() as stack:
        places = [stack.enter_context(outbox.connection(account, most)) for _number in range(run.connections)]
        run.connections = sum(places)
        if not run.connections:
            raise SmtpsetupError(
                "limit.rate", _("Other machines have all connections that the provider allows at this moment.")
            )
        yield


@contextmanager
def _journal(policy: Policy, identity: str) -> Iterator[tuple[BatchJournal, Outbox | None]]:
    """The journal of the run, which is shared where the outbox is, and that outbox. Raises SmtpsetupError."""
    directory = journal_directory()
    with busy_explained():
        if policy.outbox.is_shared:
            from smtpsetup.outbox.postgresql.batches import SharedJournal  # psycopg costs 100 ms

            with SharedJournal(policy.outbox, directory, identity) as shared:
                yield shared, shared.box
        else:
            with Journal(directory, identity) as journal:
                yield journal, None


def journal_directory() -> str:
    """The state directory. Raises SmtpsetupError where it is not known."""
    directory = paths.state_dir()
    if not directory:
        raise SmtpsetupError("config.invalid", _("It is not known where to note what was sent: HOME is not set."))
    return directory


@contextmanager
def busy_explained() -> Iterator[None]:
    """Turn BusyError, and what is wrong with a shared outbox, into SmtpsetupError."""
    try:
        yield
    except BusyError as error:
        raise SmtpsetupError(
            "config.invalid", _("Another run sends the same mails at this moment."), exit_code=EX_TEMPFAIL
        ) from error
    except ExplainedOSError as error:
        told = error.explained()
        told.hints = (*told.hints, _("Run the same command again: it sends what is missing, and nothing twice."))
        raise told from error


def _sent_before(journal: BatchJournal, items: list[Item], *, restart: bool) -> int:
    """How many of the mails an earlier run sent, reported to the person; none with --restart."""
    if restart:
        journal.restart()
    before = sum(journal.is_done(item.key) for item in items) if journal.is_resumed else 0
    if before:
        text = _(
            "{n} of these {total} mails were sent by an earlier run, and are not sent again. To send "
            "everything anew: --restart."
        )
        tell(text.format(n=before, total=len(items)))
    return before


def _run(
    context: Context, secret: Secret | None, batch: Batch, options: BatchOptions, provider: Provider | None
) -> Run:
    """The run, within the provider's limits for connections and messages a minute."""
    connections, seconds_between = options.connections, options.seconds_between or 0.0
    limit = provider.limit("connections") if provider else None
    if limit is not None and connections > limit:
        tell(_("The provider allows {n} connections at a time: no more than that are used.").format(n=limit))
        connections = limit
    per_minute = provider.limit("messages_per_minute") if provider else None
    if per_minute is not None and batch.totals.total > per_minute:
        seconds_between = max(seconds_between, 60.0 / per_minute)
    return Run(context, secret, batch.finish, connections=connections, seconds_between=seconds_between)


def _secret(context: Context, policy: Policy) -> tuple[Secret | None, SmtpsetupError | None]:
    """The secret or, for mails that may be queued, the temporary failure to read it. Raises SmtpsetupError."""
    if policy.queue is Queue.ALWAYS:
        return None, None
    try:
        return context.secret(), None
    except SmtpsetupError as error:
        if error.exit_code != EX_TEMPFAIL or policy.queue is Queue.NEVER:
            raise
        return None, error


def _source(options: BatchOptions, template: Parts) -> tuple[Callable[[], Iterator[Item | LineError]], str]:
    """What reads the mails from their start, and the identity of their source in the journal. Raises SmtpsetupError."""
    path = options.batch or options.merge or ""
    if path == "-":
        data = sys.stdin.buffer.read()
        identity = hashlib.sha256(data).hexdigest()
    else:
        try:
            data = input_file.read(path)
        except OSError as error:
            raise read_failed(path, error) from error
        identity = os.path.abspath(path)
    if options.batch:
        return lambda: json_lines(_lines(data), template.from_, options.root), f"batch {identity}"
    from smtpsetup.sending import merge  # loads csv and string

    return lambda: merge.merged(merge.rows(data), template, options.root), f"merge {identity}"


def _lines(data: bytes) -> Iterator[bytes]:
    """The lines, as `bytes.splitlines` gives them, one after the other: there may be a million."""
    for line in io.BytesIO(data):
        yield from line.splitlines()


def _show_first(state: State, account: Account, items: list[Item], *, shows_raw: bool) -> None:
    """Print the first mails and the number of all, for --dry-run."""
    for item in items[:_SHOWN]:
        delivery = delivery_of(draft_of(account, item.parts))
        message = b"".join(delivery.message.chunks())
        if state.json:
            view = {
                "line": item.line,
                "id": item.id,
                "recipients": delivery.envelope.recipients,
                "message": message.decode("utf-8"),
            }
            click.echo(views.json.line(view))
            continue
        click.echo(
            _("--- line {line}, to: {names}").format(line=item.line, names=", ".join(delivery.envelope.recipients))
        )
        if shows_raw:
            click.echo(message.replace(b"\r\n", b"\n"))
        else:
            views.preview.mail(message)
    if state.json:
        state.write_json({"total": len(items)})
    else:
        tell(_("Nothing is sent. There are {n} mails, and all of them are in order.").format(n=len(items)))


@contextmanager
def progress(state: State, total: int, before: int) -> Iterator[views.batch.Bar | views.batch.Lines | None]:
    """The progress bar where standard error is a terminal that nothing else is written to, else None."""
    if not sys.stderr.isatty() or state.verbose or (state.json and sys.stdout.isatty()):
        yield None
        return
    kind = views.batch.Bar if can_redraw(sys.stderr) else views.batch.Lines
    with kind(total, before) as bar:
        yield bar


def result_reporter(
    state: State, bar: views.batch.Bar | views.batch.Lines | None, failures: list[SmtpsetupError]
) -> Callable[[Item, SendResult], None]:
    """The function that reports the result of each mail and adds its error to `failures`."""

    def report_result(item: Item, result: SendResult) -> None:
        if result.error:
            failures.append(result.error)
            views.batch.failed(item, result, bar)
        if state.json:
            place: dict[str, object] = {"line": item.line} if item.id is None else {"line": item.line, "id": item.id}
            sys.stdout.write(views.json.batch_line(result, place) + "\n")
            sys.stdout.flush()
        if bar:
            bar.count_mail()

    return report_result


def finish(state: State, totals: Totals, failures: list[SmtpsetupError], seconds: float) -> None:
    """Print the summary.

    Raises the error that decides the exit code: what stopped the run, else the first permanent refusal of a mail, else
    the first failure.
    """
    if sys.stderr.isatty() or totals.sent + totals.before < totals.total:
        views.batch.summary(totals, seconds)
    view = views.json.totals(totals, seconds)
    error = (
        totals.error
        or next((one for one in failures if one.exit_code != EX_TEMPFAIL), None)
        or next(iter(failures), None)
    )
    if error is None:
        if state.json:
            state.write_json(view)
        return
    again = _("Run the same command again: it sends what is missing, and nothing twice.")
    if totals.unknown:
        again = _(
            "Run the same command again: it sends what is missing, and what may have arrived once more, unless you add "
            "`--on-unknown hold`."
        )
    error.hints = (*error.hints, again)
    error.result = view
    raise error


def _warn_of_daily_limit(provider: Provider | None, total: int) -> None:
    limit = provider.limit("messages_per_day") if provider else None
    if provider and limit is not None and total > limit:
        tell(
            _("Warning: these are {n} mails, but {provider} allows {limit} in 24 hours.").format(
                n=total, provider=provider.name, limit=limit
            )
        )
