"""`smtpsetup relay add-client`, `list`, `renew` and `remove`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from smtpsetup.address.address import MalformedAddressError, parse_address
from smtpsetup.cli import views
from smtpsetup.cli.ask import DeclinedError, confirm
from smtpsetup.cli.command import Command
from smtpsetup.cli.complete import account_names, by_click, client_names
from smtpsetup.cli.open_outbox import state_directory
from smtpsetup.cli.relay_place import choose_place, require_account, system_option
from smtpsetup.cli.state import State, WholeNumberType, common_options
from smtpsetup.cli.types import CheckedType
from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.i18n import gettext as _
from smtpsetup.relay import clients
from smtpsetup.relay.card import Subject, card
from smtpsetup.relay.clients import Client
from smtpsetup.relay.status import where
from smtpsetup.submission.submission import may_send_from

if TYPE_CHECKING:
    from smtpsetup.config.account import Account
    from smtpsetup.core.model import Secret
    from smtpsetup.relay.card import Card


def _address(text: str) -> str:
    try:
        return parse_address(text).wire
    except MalformedAddressError as error:
        raise ValueError(str(error)) from error


@click.command(
    "add-client",
    cls=Command,
    help=_(
        "Let a program or a device send through the relay. Its password is shown this once. With --net it needs no "
        "login from those addresses, and may come from no others."
    ),
    short_help=_("Let a program or a device send through the relay."),
)
@click.argument("name", metavar=_("NAME"))
@click.option(
    "--from",
    "senders",
    multiple=True,
    metavar=_("ADDRESS"),
    type=CheckedType("address", _address),
    help=_("Bind it to this sender; may be repeated. Any other is refused."),
)
@click.option(
    "--account",
    "account_name",
    metavar=_("ACCOUNT"),
    shell_complete=by_click(account_names),
    help=_("Send its mail with this account."),
)
@click.option(
    "--net",
    "nets",
    multiple=True,
    metavar="CIDR",
    type=CheckedType("network", lambda text: str(clients.network(text))),
    help=_("An address or a network from which it needs no login; may be repeated."),
)
@click.option("--per-day", type=WholeNumberType(min=1), metavar="N", help=_("At most so many mails in 24 hours."))
@click.option("--old-tls", is_flag=True, help=_("Allow it TLS 1.0 and 1.1, for old printers."))
@system_option
@common_options
def add_client_command(  # noqa: PLR0913, PLR0917  click passes its options by name
    state: State,
    name: str,
    senders: tuple[str, ...],
    account_name: str | None,
    nets: tuple[str, ...],
    per_day: int | None,
    old_tls: bool,  # noqa: FBT001  as above
    system: bool,  # noqa: FBT001  as above
) -> None:
    """Add a client and show its password."""
    choose_place(state, is_system=system)
    account = _account_for(state, account_name, senders)
    client = Client(name, "", senders, account.name if account_name and account else "", nets, per_day, old_tls=old_tls)
    password = clients.add(state_directory(), client)
    state.output(
        lambda: views.relay_json.client(client) | {"password": password.reveal()},
        lambda: views.relay.added(client, _card(_account_of(state, client), client, password)),
    )


def _account_for(state: State, name: str | None, senders: tuple[str, ...]) -> Account | None:
    """The account of that name, if one is named. Raises SmtpsetupError where no account may use one of the senders."""
    config = state.config()
    require_account(state, config)
    chosen = config.account(name) if name else None
    possible = [chosen] if chosen else list(config.accounts.values())
    for sender in senders:
        if not any(may_send_from(account, sender) for account in possible):
            names = ", ".join(account.name for account in possible)
            raise SmtpsetupError(
                "config.invalid",
                _("{account} may not send from {address}.").format(account=names, address=sender),
                hints=(
                    _(
                        'If the server lets you, write `allowed_from = "domain"` or `"any"` into the account in {path}.'
                    ).format(path=config.path),
                ),
            )
    return chosen


def _card(account: Account, client: Client, password: Secret) -> Card:
    return card(Subject(account, client, password=password), where(state_directory()))


def _account_of(state: State, client: Client) -> Account:
    """The account that a client's mail goes through, where its sender names no other."""
    config = state.config()
    default = config.default if config.default in config.accounts else next(iter(config.accounts), None)
    return config.account(client.account or default)


@click.command("list", cls=Command, help=_("The relay's clients. Their passwords cannot be shown."))
@system_option
@common_options
def list_command(state: State, system: bool) -> None:  # noqa: FBT001  click passes flags by name
    """List the clients."""
    choose_place(state, is_system=system)
    listed = list(clients.load(state_directory()).values())
    state.output(lambda: [views.relay_json.client(client) for client in listed], lambda: views.relay.clients(listed))


@click.command(
    "renew",
    cls=Command,
    help=_("Give a client a new password, which is shown this once. The old one stops working at once."),
)
@click.argument("name", metavar=_("NAME"), shell_complete=by_click(client_names))
@system_option
@common_options
def renew_command(state: State, name: str, system: bool) -> None:  # noqa: FBT001  click passes flags by name
    """Renew a password and show it."""
    choose_place(state, is_system=system)
    client = clients.found(clients.load(state_directory()), name)
    account = None if state.json else _account_of(state, client)  # before the old password is gone
    password = clients.renew(state_directory(), name)
    if account is None:
        state.write_json({"name": name, "password": password.reveal()})
    else:
        views.relay.renewed(name, _card(account, client, password))


@click.command(
    "remove", cls=Command, help=_("Stop a client from sending. What it has handed over already is still sent.")
)
@click.argument("name", metavar=_("NAME"), shell_complete=by_click(client_names))
@system_option
@common_options
def remove_command(state: State, name: str, system: bool) -> None:  # noqa: FBT001  click passes flags by name
    """Confirm, then remove a client."""
    choose_place(state, is_system=system)
    clients.found(clients.load(state_directory()), name)
    if state.may_ask and not confirm(_("Remove the client {name}?").format(name=name), default=False):
        raise DeclinedError
    clients.remove(state_directory(), name)
    state.output(
        lambda: {"name": name},
        lambda: views.human.say(_("The client {name} can send no more.").format(name=name)),
    )
