"""The table of stages that fills while a test runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import Stage, StageStatus
from smtpsetup.render.human import console, show

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


class StageTable:
    """Rows for the planned stages, filled by `update` as their results come; a context manager.

    Without `live`, or where the output is no terminal, the table is printed once, at the end.
    """

    def __init__(self, planned: tuple[Stage, ...], *, stderr: bool = False, live: bool = True) -> None:
        self._planned = planned
        self._results: dict[Stage, StageResult] = {}
        self._finished = False
        self._is_looking = False
        self._stderr = stderr
        out = console(stderr=stderr)
        self._live = (
            Live(console=out, get_renderable=self._content, refresh_per_second=8) if out.is_terminal and live else None
        )

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._finished = True
        if self._live:
            self._live.refresh()
            self._live.stop()
        else:
            show(self._table(), stderr=self._stderr)
        show(Text(), stderr=self._stderr)

    def update(self, result: StageResult) -> None:
        """Fill the row of a stage."""
        self._results[result.stage] = result
        if self._live:
            self._live.refresh()

    def start_second_look(self) -> None:
        """Show that a failure is being looked into, which takes some seconds."""
        self._is_looking = True
        if self._live:
            self._live.refresh()

    def _content(self) -> Group | Table:
        if self._is_looking and not self._finished:
            return Group(self._table(), Text(_("Finding out more …"), style="dim"))
        return self._table()

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True, justify="right")
        table.add_column(overflow="fold")
        running = next((stage for stage in self._planned if stage not in self._results), None)
        for stage in self._planned:
            result = self._results.get(stage)
            if result is not None:
                status = Text(_status_name(result.status), style=_STYLES[result.status])
                said = str(result.reply).splitlines()[-1] if result.reply and stage is not Stage.EHLO else ""
                table.add_row(
                    _stage_name(stage), status, f"{result.ms:.0f} ms", Text(said or result.detail, style="dim")
                )
                continue
            if self._finished or self._is_looking:
                waiting = _status_name(StageStatus.SKIPPED)
            else:
                waiting = "…" if stage is running else ""
            table.add_row(_stage_name(stage), Text(waiting, style="dim"), "", "")
        return table
