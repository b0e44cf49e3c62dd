"""The search for a domain's server, for people: its progress, the candidates and the sources."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.status import Status
from rich.text import Text

from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.i18n import ngettext
from smtpsetup.discovery.candidates import QueryStatus, Source, Trust
from smtpsetup.discovery.search import agree
from smtpsetup.render.human import console, indented, server_line, show

if TYPE_CHECKING:
    from smtpsetup.address.address import Address
    from smtpsetup.discovery.candidates import Candidate, SourceReport
    from smtpsetup.discovery.search import Discovery

_STYLES = {
    QueryStatus.FOUND: "green",
    QueryStatus.ABSENT: "dim",
    QueryStatus.REFUSED: "bold red",
    QueryStatus.FAILED: "yellow",
    QueryStatus.TIMEOUT: "yellow",
}


def _source_name(source: Source) -> str:
    return {
        Source.TABLE: _("provider table"),
        Source.PACC: "PACC",
        Source.MX: "MX",
        Source.AUTOCONFIG: "autoconfig",
        Source.ISPDB: _("Thunderbird's database"),
        Source.SRV: "SRV",
        Source.PROBE: _("probe"),
    }[source]


def _outcome_name(outcome: QueryStatus) -> str:
    return {
        QueryStatus.FOUND: _("found"),
        QueryStatus.ABSENT: _("nothing"),
        QueryStatus.REFUSED: _("not usable"),
        QueryStatus.FAILED: _("failed"),
        QueryStatus.TIMEOUT: _("no answer"),
    }[outcome]


def _trust_name(trust: Trust) -> str:
    return {
        Trust.TABLE: _("checked by hand"),
        Trust.TLS: _("bound to the domain by TLS"),
        Trust.THIRD_PARTY: _("a third party's word"),
        Trust.DNS: _("DNS alone"),
        Trust.GUESS: _("a guess"),
    }[trust]


class Searching(Status):
    """A line on standard error with the number of pending answers, gone when the search ends; a context manager."""

    def __init__(self, address: Address) -> None:
        self._text = _("Looking for the server of {domain}").format(domain=address.unicode_domain)
        super().__init__(f"{self._text} …", console=console(stderr=True))

    def start(self) -> None:
        """Show the line. Ctrl-C while it starts must not leave the cursor hidden."""
        try:
            super().start()
        except BaseException:
            self.stop()
            raise

    def on_report(self, _report: SourceReport, left: int) -> None:
        """Update the number of pending answers."""
        self.update(f"{self._text} … " + ngettext("{n} answer to come", "{n} answers to come", left).format(n=left))


def sources(discovery: Discovery) -> None:
    """Print what `identify --all` adds: every candidate, best first, and how each source answered."""
    best = discovery.candidates[0] if discovery.candidates else None
    if best:
        show(Text())
        show(Text(_("Candidates, best first"), style="bold"))
        for one in discovery.candidates:
            _candidate(one, differs=not agree(best, one))
    show(Text())
    show(Text(_("What each source said"), style="bold"))
    for report in discovery.reports:
        outcome = (_outcome_name(report.outcome), _STYLES[report.outcome])
        show(Text.assemble("  ", (_source_name(report.source), "bold"), "  ", outcome, f"  {report.ms:.0f} ms"))
        show(indented(indented(Text(report.origin, style="dim", overflow="fold"))))
        for line in report.detail.split("; ") if report.detail else ():
            show(indented(indented(Text(line))))


def _candidate(one: Candidate, *, differs: bool) -> None:
    names = ", ".join(server_line(server) for server in one.servers) or "-"
    provider = f"{one.provider.name}: " if one.provider else ""
    mark = Text("  " + _("disagrees"), style="yellow") if differs else Text()
    show(Text.assemble("  ", (_source_name(one.source), "bold"), f" ({_trust_name(one.trust)})", mark))
    show(indented(indented(Text(f"{provider}{names}"))))
