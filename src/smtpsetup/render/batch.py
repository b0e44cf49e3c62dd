"""A run over many mails, for people: a progress bar while it goes on, a summary at its end."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Self

from rich.console import Group
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from smtpsetup.core.i18n import decimal, ngettext
from smtpsetup.core.i18n import gettext as _
from smtpsetup.render.human import console, note, show
from smtpsetup.render.prose import print_lines, prose

if TYPE_CHECKING:
    from smtpsetup.sending.batch import Totals
    from smtpsetup.sending.batch_input import Item
    from smtpsetup.sending.send_one import SendResult


_LINE_SECONDS = 30.0


class Bar(Progress):
    """A progress bar with rate and remaining time on standard error; a context manager."""

    def __init__(self, total: int, before: int) -> None:
        super().__init__(
            TextColumn(_("Sending")),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=console(stderr=True),
            transient=True,
            redirect_stdout=False,  # results go to standard output as they are
            redirect_stderr=False,
        )
        self._mails = self.add_task("", total=total, completed=before, rate="")

    def count_mail(self) -> None:
        """Advance by one mail."""
        speed = self.tasks[0].speed
        self.update(self._mails, advance=1, rate=_("{n}/s").format(n=decimal(speed, 1)) if speed else "")


class Lines:
    """The progress in a line from time to time, where a bar cannot be drawn or is not wanted; a context manager."""

    def __init__(self, total: int, before: int) -> None:
        self.console = console(stderr=True)
        self._total, self._done = total, before
        self._next = time.monotonic() + _LINE_SECONDS

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        """Nothing is left on the screen to take back."""

    def stop(self) -> None:
        """As `__exit__`."""

    def count_mail(self) -> None:
        """Count one mail, and print how many there are if the last line is old."""
        self._done += 1
        if time.monotonic() >= self._next and self._done < self._total:
            self._next = time.monotonic() + _LINE_SECONDS
            note(_("{n} of {total} mails").format(n=self._done, total=self._total))


def failed(item: Item, result: SendResult, bar: Bar | Lines | None) -> None:
    """Print why a mail was not sent, above the bar where there is one."""
    if result.error:
        reply = f" ({result.error.failure.reply})" if result.error.failure and result.error.failure.reply else ""
        text = _("Line {line}: {reason}").format(line=item.line, reason=result.error.message) + reply
        print_lines(bar.console if bar else console(stderr=True), prose(text))


def summary(totals: Totals, seconds: float) -> None:
    """Print the totals of a run."""
    first = ngettext("{n} mail sent in {time} s.", "{n} mails sent in {time} s.", totals.sent).format(
        n=totals.sent, time=decimal(seconds, 1)
    )
    others = (
        (totals.before, ngettext("{n} was sent by an earlier run.", "{n} were sent by an earlier run.", totals.before)),
        (
            totals.queued,
            ngettext(
                "{n} waits in the outbox: `smtpsetup outbox list`.",
                "{n} wait in the outbox: `smtpsetup outbox list`.",
                totals.queued,
            ),
        ),
        (totals.failed, ngettext("{n} could not be sent.", "{n} could not be sent.", totals.failed)),
        (
            totals.unknown,
            ngettext(
                "{n} may have arrived: its answer was lost.",
                "{n} may have arrived: their answers were lost.",
                totals.unknown,
            ),
        ),
        (totals.left, ngettext("{n} was not tried.", "{n} were not tried.", totals.left)),
    )
    lines = [prose(text.format(n=n)) for n, text in others if n]
    show(Group(Text(first, style="" if lines else "green"), *lines), stderr=True)


def interrupted(totals: Totals, bar: Bar | Lines | None) -> None:
    """Replace the bar by how many mails were sent before Ctrl-C."""
    if bar:
        bar.stop()
    note(
        _(
            "{sent} of {total} are sent. Run the same command again: it sends the rest. A mail whose answer had not "
            "come yet is sent once more, unless you add `--on-unknown hold`."
        ).format(sent=totals.sent + totals.before, total=totals.total)
    )
