"""Errors, for people: what happened and the one next step, or with -v all that is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.i18n import ngettext
from smtpsetup.diagnosis.explanation import YOU
from smtpsetup.render.human import bullets, console, fields, indented, more, note, show
from smtpsetup.render.prose import prose

if TYPE_CHECKING:
    from rich.console import RenderableType

    from smtpsetup.core.errors import SmtpsetupError

_LINES_OF_REPLY = 2  # at a terminal; -v shows all of it
_INDENT = 2
_UNINTERPRETED = ("server.refused", "server.temporary", "server.protocol-error", "data.content-rejected")


def error(problem: SmtpsetupError, *, verbose: bool = False) -> None:
    """Print an error on standard error, with `verbose` all that is known about it."""
    if verbose:
        whole(problem)
    else:
        short(problem)


def short(problem: SmtpsetupError) -> None:
    """Print what happened, the most likely step, and where more is said."""
    show(Group(*_what_happened(problem), *_known_reason(problem)), stderr=True)
    hints = problem.hints if problem.needs_all_hints else problem.hints[:1]
    for hint in hints:
        note(f"  {hint}", hang=2)
    is_whole = hints == problem.hints and problem.causes in ((), (problem.known_cause,)) and not problem.url
    code = f"({problem.code})"
    pointer = _("More: `smtpsetup explain {code}`").format(code=problem.code)
    show(indented(Text(code, style="dim") if is_whole else prose(pointer, "dim")), stderr=True)


def before_question(problem: SmtpsetupError, *, with_causes: bool = False) -> None:
    """Print what happened where a question follows: no error, since it goes on. `with_causes` adds what may be why."""
    parts = [prose(f"{problem.message} ({problem.code})"), *_excerpt(problem)]
    if with_causes and len(problem.causes) > 1:
        parts += [indented(bullets("•", problem.causes))]
    else:
        parts += _known_reason(problem)
    show(Group(*parts), stderr=True)


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
    """The server's words, where somebody else must see them or nobody watches; else the cause, where it is known."""
    reply = problem.failure.reply if problem.failure else None
    is_for_others = problem.code in _UNINTERPRETED or problem.responsible != _(YOU)
    out = console(stderr=True)
    if reply and (is_for_others or not out.is_terminal):
        text = _("The server said: {reply}").format(reply=" ".join(str(reply).split()))
        room = _LINES_OF_REPLY * (out.width - _INDENT)
        return [indented(prose(text if len(text) <= room else f"{text[: room - 1]}…"))]
    return [indented(prose(problem.known_cause))] if problem.known_cause else []


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
        for number, hint in enumerate(problem.hints, start=1):
            mark = f"  {number}. "
            note(mark + hint, hang=len(mark))
        parts = []
    if problem.url and not any(problem.url in hint for hint in problem.hints):
        parts.append(indented(prose(more(problem.url))))
    parts += [Text(), Text(f"({problem.code})", style="dim")]
    show(Group(*parts), stderr=True)
