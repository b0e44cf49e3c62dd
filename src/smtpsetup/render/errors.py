"""Errors, for people: what happened and the one next step, or with -v all that is known."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.i18n import ngettext
from smtpsetup.diagnosis.explanation import YOU
from smtpsetup.render.human import bullets, console, fields, indented, more, note, show, steps
from smtpsetup.render.prose import prose

if TYPE_CHECKING:
    from rich.console import RenderableType

    from smtpsetup.core.errors import SmtpsetupError

_LINES_OF_REPLY = 1  # at a terminal; -v shows all of it
_INDENT = 2
_PAGE = r"https?://[!-~]+[A-Za-z0-9/]"
_UNINTERPRETED = ("server.refused", "server.temporary", "server.protocol-error", "data.content-rejected")


def error(problem: SmtpsetupError, *, verbose: bool = False) -> None:
    """Print an error on standard error, with `verbose` all that is known about it."""
    if verbose:
        whole(problem)
    else:
        short(problem)


def short(problem: SmtpsetupError) -> None:
    """Print what happened, the most likely step, and where more is said."""
    is_diagnosed = problem.failure is not None  # then `explain` knows its causes and hints
    show(Group(*_what_happened(problem), *_known_reason(problem)), stderr=True)
    hints = problem.hints if problem.needs_all_hints else problem.hints[:1]
    for hint in hints:
        note(f"  {hint}", hang=2)
    shown_causes = (problem.known_cause,) if is_diagnosed else problem.causes
    if hints == problem.hints and problem.causes in ((), shown_causes) and not problem.url:
        pointer = Text(f"({problem.code})", style="dim")
    elif is_diagnosed:
        pointer = prose(_("More: `smtpsetup explain {code}`").format(code=problem.code), "dim")
    else:
        pointer = prose(_("More: the same command with `-v` ({code})").format(code=problem.code), "dim")
    show(indented(pointer), stderr=True)


def before_question(problem: SmtpsetupError, *, with_causes: bool = False) -> None:
    """Print what happened where a question follows: no error, since it goes on.

    With `with_causes` print what may be why instead, for something that has happened before.
    """
    if with_causes and problem.causes:
        again = prose(_("It was refused again. This may be why:"))
        show(Group(again, indented(bullets("•", problem.causes))), stderr=True)
        return
    message = prose(f"{problem.message} ({problem.code})")
    show(Group(message, *_excerpt(problem), *_known_reason(problem)), stderr=True)


def _what_happened(problem: SmtpsetupError) -> list[RenderableType]:
    label = _("Error: ")
    message = prose(label + problem.message, "bold")
    message.stylize("red", 0, len(label))
    return [message, *_excerpt(problem)]


def _excerpt(problem: SmtpsetupError) -> list[RenderableType]:
    """The text that is wrong, with a mark below the place."""
    text = getattr(problem, "text", "")
    return [indented(Text(f"{text}\n{' ' * getattr(problem, 'position', 0)}^"))] if text else []


def _known_reason(problem: SmtpsetupError) -> list[RenderableType]:
    """The server's words, where they are needed; else the cause, where it is known, or what was found."""
    reply = _reply_shown(problem)
    if reply:
        return [indented(prose(_("The server said: {reply}").format(reply=reply)))]
    if problem.known_cause:
        return [indented(prose(problem.known_cause))]
    is_found = problem.failure is None and problem.known_cause is None
    return [indented(bullets("•", problem.causes))] if is_found and problem.causes else []


def _reply_shown(problem: SmtpsetupError) -> str:
    """The server's words in one line, where somebody else must see them, they name a page, or nobody watches."""
    reply = " ".join(str(problem.failure.reply).split()) if problem.failure and problem.failure.reply else ""
    if not sys.stderr.isatty() or problem.code in _UNINTERPRETED:
        return reply
    pages = re.findall(_PAGE, reply)
    if not pages and problem.responsible == _(YOU):
        return ""
    room = _LINES_OF_REPLY * (console(stderr=True).width - _INDENT) - len(_("The server said: {reply}"))
    if len(reply) <= room:
        return reply
    lost = [page for page in pages if page not in reply[:room]]
    return " ".join((f"{reply[:room]}…", *lost))


def whole(problem: SmtpsetupError) -> None:
    """Print what happened, the server's words, the causes, and what to do, on standard error (-v)."""
    parts = _what_happened(problem)
    reply = problem.failure.reply if problem.failure else None
    if reply:
        parts.append(indented(fields([(_("The server said:"), Text(str(reply)))])))
    if problem.causes:
        label = ngettext("Cause:", "Possible causes:", len(problem.causes))
        causes = prose(problem.causes[0]) if len(problem.causes) == 1 else bullets("•", problem.causes)
        parts.append(indented(fields([(label, causes)])))
    if problem.responsible:
        parts.append(indented(fields([(_("Who can change it:"), Text(problem.responsible))])))
    if problem.hints:
        show(Group(*parts, Text(), Text(_("What to do:"))), stderr=True)
        steps(problem.hints)
        parts = []
    if problem.url and not any(problem.url in hint for hint in problem.hints):
        parts.append(indented(prose(more(problem.url))))
    parts += [Text(), Text(f"({problem.code})", style="dim")]
    show(Group(*parts), stderr=True)
