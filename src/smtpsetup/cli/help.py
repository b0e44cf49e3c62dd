"""`smtpsetup help`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from smtpsetup.cli import views
from smtpsetup.cli.command import Command
from smtpsetup.cli.state import State, common_options
from smtpsetup.core.i18n import gettext as _

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

TOPICS = ("oauth2", "cron", "relay", "secrets")


def _topics(_ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem  # loaded only for a Tab

    return [CompletionItem(name) for name in TOPICS if name.startswith(incomplete)]


@click.command(
    "help",
    cls=Command,
    help=_("How a task is done from beginning to end: oauth2, cron, relay or secrets. It needs no network."),
)
@click.argument("words", nargs=-1, metavar=_("[TOPIC]"), shell_complete=_topics)
@common_options
@click.pass_context
def help_command(ctx: click.Context, state: State, words: tuple[str, ...]) -> None:
    """Print a topic, the help of a command, or which topics there are."""
    topic = " ".join(words)
    if not topic:
        shown = {name: one.translated() for name, one in views.topics.TOPICS.items()}
        state.output(lambda: [_view(name, one) for name, one in shown.items()], views.topics.topics)
        return
    if topic in TOPICS:
        one = views.topics.TOPICS[topic].translated()
        state.output(lambda: _view(topic, one), lambda: views.topics.topic(one))
        return
    page = _help_page(ctx.find_root(), words)
    state.command = "help"  # finding the command has changed it
    if not page:
        text = _("There is no topic or command {name}. Topics: {topics}.")
        raise click.BadParameter(text.format(name=topic, topics=", ".join(TOPICS)), param_hint=_("TOPIC"))
    state.output(lambda: {"topic": topic, "text": page}, lambda: click.echo(page))


def _help_page(context: click.Context, words: tuple[str, ...]) -> str:
    """The help page of a command or subcommand; `""` where there is none of that name."""
    for word in words:
        group = context.command
        command = group.get_command(context, word) if isinstance(group, click.Group) else None
        if command is None:
            return ""
        context = command.context_class(command, parent=context, info_name=word)
    return context.get_help()


def _view(name: str, one: views.topics.Topic) -> dict[str, object]:
    return {
        "topic": name,
        "text": one.summary,
        "steps": list(one.steps),
        "notes": list(one.notes),
        "url": one.document,
    }
