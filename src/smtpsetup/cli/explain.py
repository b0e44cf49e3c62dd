"""`smtpsetup explain`."""

from __future__ import annotations

import click

from smtpsetup import DOCUMENTATION
from smtpsetup.cli import views
from smtpsetup.cli.command import Command
from smtpsetup.cli.complete import by_click, error_codes
from smtpsetup.cli.state import State, common_options
from smtpsetup.core.exit_codes import EXIT_CODES
from smtpsetup.core.i18n import gettext as _
from smtpsetup.diagnosis.meaning import Meaning, meaning_of
from smtpsetup.sandbox.faults import FAULTS, REHEARSALS


@click.command(
    "explain",
    cls=Command,
    help=_(
        "What an error code means and how to correct it, such as `smtpsetup explain auth.bad-credentials`; without a "
        "code, all of them. It needs no network."
    ),
    short_help=_("What an error code means, and how to correct it."),
)
@click.argument("code", required=False, metavar=_("[CODE]"), shell_complete=by_click(error_codes))
@common_options
def explain_command(state: State, code: str | None) -> None:
    """Explain a code, or list them."""
    if code is None:
        listed = [meaning_of(one) for one in sorted(EXIT_CODES)]
        state.output(lambda: [_view(one) for one in listed], lambda: views.explain.codes(listed))
        return
    wanted = code.strip().strip("()`").lower()
    if wanted not in EXIT_CODES:
        raise click.BadParameter(_unknown(wanted), param_hint=_("CODE"))
    found = meaning_of(wanted)
    command = REHEARSALS.get(wanted) or (f"smtpsetup sandbox --fault {wanted}" if wanted in FAULTS else None)
    state.output(lambda: _view(found), lambda: views.explain.meaning(found, command))


def _view(found: Meaning) -> dict[str, object]:
    return {
        "code": found.code,
        "stage": found.stage,
        "exit_code": found.exit_code,
        "retry": found.may_be_retried,
        "text": found.text,
        "causes": list(found.causes),
        "steps": list(found.steps),
        "url": f"{DOCUMENTATION}/errors.md",
    }


def _unknown(code: str) -> str:
    from difflib import get_close_matches  # only for mistyped codes

    text = _("There is no error code {code}.").format(code=code)
    similar = get_close_matches(code, EXIT_CODES) or [one for one in EXIT_CODES if code and code in one]
    meant = _("Did you mean {names}?").format(names=" / ".join(similar))
    return f"{text} {meant}" if similar else text
