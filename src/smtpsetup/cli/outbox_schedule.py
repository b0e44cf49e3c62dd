"""`smtpsetup outbox schedule`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from smtpsetup.cli import views
from smtpsetup.cli.state import State, common_options
from smtpsetup.core.i18n import gettext as _

if TYPE_CHECKING:
    from smtpsetup.setup.schedule import Plan


@click.command(
    "schedule",
    help=_(
        "Print what lets the outbox be flushed every minute: a systemd timer or a crontab line; --install sets it up, "
        "--uninstall removes it. For launchd (macOS) and schtasks (Windows) it is only printed, and untried."
    ),
    short_help=_("Have the outbox flushed every minute."),
)
@click.option(
    "--with",
    "scheduler",
    type=click.Choice(["systemd", "cron", "launchd", "schtasks"]),
    help=_("Which one; without it, what this machine has."),
)
@click.option("--install", is_flag=True, help=_("Set it up instead of printing it."))
@click.option("--uninstall", is_flag=True, help=_("Remove the timer and the crontab line; the mail stays."))
@common_options
def schedule_command(state: State, scheduler: str | None, install: bool, uninstall: bool) -> None:  # noqa: FBT001  click passes flags by name
    """Print, set up or remove what flushes the outbox."""
    from smtpsetup.setup import schedule  # needed for this command only

    if install and uninstall:
        raise click.UsageError(_("Give --install or --uninstall, not both."))
    if uninstall:
        if scheduler:
            raise click.UsageError(_("--with is not for --uninstall, which removes all."))
        _uninstall(state)
        return
    plan = schedule.plan(scheduler, config=state.config_option)
    if install:
        schedule.install(plan)
    if state.json:
        state.write_json(
            {
                "scheduler": plan.scheduler,
                "installed": install,
                "files": dict(plan.files),
                "crontab": plan.crontab or None,
            }
        )
        return
    if install:
        views.human.say(_("Done: the outbox is flushed every minute."))
        for warning in schedule.warnings(plan):
            views.human.note(warning)
        return
    _print_plan(plan, scheduler)


def _uninstall(state: State) -> None:
    from smtpsetup.setup import schedule  # as above

    removed = schedule.uninstall()
    text = _("Done: nothing flushes the outbox by itself any more. The mail in it stays.")
    if not removed:
        text = _("Neither a timer nor a crontab line of smtpsetup was set up.")
    state.output(lambda: {"removed": removed}, lambda: views.human.say(text))


def _print_plan(plan: Plan, scheduler: str | None) -> None:
    for path, content in plan.files:
        click.echo(f"# {path}\n{content}" if plan.scheduler == "systemd" else content)
    if plan.crontab:
        click.echo(plan.crontab)
    if plan.scheduler in ("launchd", "schtasks"):
        text = _(
            "Untried: this was written from the documentation of {scheduler}. Save it as {path} and run: `{command}`."
        )
        views.human.note(text.format(scheduler=plan.scheduler, path=plan.files[0][0], command=plan.by_hand))
        return
    chosen = f" --with {scheduler}" if scheduler else ""
    text = _("Set it up: `smtpsetup outbox schedule{chosen} --install`, or copy it and run: `{command}`.")
    views.human.note(text.format(chosen=chosen, command=plan.by_hand))
