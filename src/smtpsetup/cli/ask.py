"""Questions to a person. Click's own yes/no knows only the English letters."""

from __future__ import annotations

import click

from smtpsetup.i18n import gettext as _


def confirm(question: str, *, default: bool) -> bool:
    """A question answered with yes or no, in the person's language or with y and n. Raises click.Abort for Ctrl-C."""
    yes = {"y", "yes", *_("y/yes").split("/")}
    no = {"n", "no", *_("n/no").split("/")}
    choices = _("[Y/n]") if default else _("[y/N]")
    while True:
        answer = str(click.prompt(f"{question} {choices}", default="", show_default=False, err=True)).strip().casefold()
        if not answer:
            return default
        if answer in yes | no:
            return answer in yes
        click.echo(_("Answer with y for yes or n for no."), err=True)
