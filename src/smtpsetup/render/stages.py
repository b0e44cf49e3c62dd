"""The stages of a test: a line while it runs, and the table afterwards."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Self

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import Stage, StageStatus
from smtpsetup.render.human import console, show
from smtpsetup.terminal.streams import can_redraw

if TYPE_CHECKING:
    from types import TracebackType

    from smtpsetup.core.failure import StageResult

_STYLES = {
    StageStatus.OK: "green",
    StageStatus.WARNING: "yellow",
    StageStatus.FAILED: "bold red",
    StageStatus.SKIPPED: "dim",
}


def _stage_name(stage: Stage) -> str:
    return {
        Stage.DNS: _("Name"),
        Stage.CONNECT: _("Connection"),
        Stage.TLS: _("TLS"),
        Stage.GREETING: _("Greeting"),
        Stage.EHLO: _("EHLO"),
        Stage.STARTTLS: _("STARTTLS"),
        Stage.AUTH: _("Login"),
        Stage.MAIL: _("Sender"),
        Stage.RCPT: _("Recipient"),
        Stage.DATA: _("Message"),
        Stage.QUIT: _("Goodbye"),
    }[stage]


def _status_name(status: StageStatus) -> str:
    return {
        StageStatus.OK: _("ok"),
        StageStatus.WARNING: _("warning"),
        StageStatus.FAILED: _("failed"),
        StageStatus.SKIPPED: _("skipped"),
    }[status]


class StageLine:
    """A line that names the stage in progress, overwritten by the next and gone at the end; a context manager.

    Nothing is shown where lines cannot be overwritten, or not `is_shown`.
    """

    def __init__(self, planned: tuple[Stage, ...], *, stderr: bool = False, is_shown: bool = True) -> None:
        self._planned = planned
        self._reached: set[Stage] = set()
        self._is_looking = False
        self._is_shown, self._stderr = is_shown, stderr
        self._live = (
            Live(console=console(stderr=stderr), get_renderable=self._content, refresh_per_second=8, transient=True)
            if is_shown and can_redraw(sys.stderr if stderr else sys.stdout)
            else None
        )

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()
        if isinstance(error, KeyboardInterrupt) and self._is_shown:
            show(self._content(), stderr=self._stderr)  # where it hung

    def update(self, result: StageResult) -> None:
        """Go on to the next stage."""
        self._reached.add(result.stage)
        if self._live:
            self._live.refresh()

    def start_second_look(self) -> None:
        """Show that a failure is being looked into, which takes some seconds."""
        self._is_looking = True
        if self._live:
            self._live.refresh()

    def _content(self) -> Text:
        running = next((stage for stage in self._planned if stage not in self._reached), None)
        name = _("Finding out more …") if self._is_looking else f"{_stage_name(running)} …" if running else ""
        return Text(name, style="dim")


def table(results: tuple[StageResult, ...], *, stderr: bool = False) -> None:
    """Print the stages with their results and times, and a blank line."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True, justify="right")
    grid.add_column(overflow="fold")
    for result in results:
        status = Text(_status_name(result.status), style=_STYLES[result.status])
        is_skipped = result.status is StageStatus.SKIPPED
        said = str(result.reply).splitlines()[-1] if result.reply and result.stage is not Stage.EHLO else ""
        time = "" if is_skipped else f"{result.ms:.0f} ms"
        grid.add_row(_stage_name(result.stage), status, time, Text(said or result.detail, style="dim"))
    show(Group(grid, Text()), stderr=stderr)
