"""What the documentation takes from the code: the help pages, the error codes, the providers, the dependencies' cost."""

from __future__ import annotations

import datetime

import click
from click.testing import CliRunner

from smtpsetup.cli.main import COMMANDS, cli
from smtpsetup.error_codes import ERROR_CODES
from smtpsetup.errors import exit_code_for
from smtpsetup.explanations import EXPLANATIONS
from smtpsetup.providers import Table


def help_page(*arguments: str) -> str:
    """What `smtpsetup ARGUMENTS --help` prints, as a code block."""
    page = CliRunner().invoke(cli, [*arguments, "--help"], prog_name="smtpsetup", terminal_width=100).output
    return f"```text\n{page.rstrip()}\n```\n"


def command_pages() -> str:
    """Every command with its help page, groups with those of their commands."""
    parts = []
    for name in COMMANDS:
        parts.append(f"## smtpsetup {name}\n\n{help_page(name)}")
        command = cli.get_command(click.Context(cli), name)
        if isinstance(command, click.Group):
            parts += [f"### smtpsetup {name} {inner}\n\n{help_page(name, inner)}" for inner in command.list_commands(click.Context(command))]
    return "\n".join(parts)


# codes whose text depends on the place where they are raised; here what they have in common
_RAISED_WITH_THEIR_OWN_TEXT = {
    "config.no-account": "No account of that name is configured, or several are and none is the default. The message names them.",
    "config.invalid": "The configuration, the provider table or what was typed has a fault, told by file, line or key. Exit code 2 for "
    "wrong use of the command line, 65 for bad data such as a line break in a header, 66 for an input file that is missing, 74 where "
    "reading or writing failed.",
    "config.permissions": "The configuration or the provider table belongs to someone else, or others may change it. "
    "The message has the command that mends it.",
    "config.address-malformed": "The address is none. A caret stands under the fault.",
    "config.no-settings-found": "Nothing is known about the domain. Name the provider (`--provider one-com`) or the server (`--host`).",
    "config.provider-without-smtp": "The provider lets no other program send. Use an address elsewhere, or a relay service.",
    "secret.missing": "There is no password in the place that the account names, or what is there cannot be one. "
    "Save it again: `smtpsetup login ACCOUNT`.",
    "secret.keyring-unavailable": "There is no keyring here: servers, containers, ssh and cron have no desktop session. Keep the password elsewhere: "
    "`smtpsetup login ACCOUNT --password-file FILE`.",
    "secret.keyring-locked": "The keyring is closed until you log in with your password. Unlock it, or keep the password elsewhere.",
    "secret.command-failed": "The command that prints the password failed; its own complaint stands in the message. "
    "It runs in the home directory, without a shell.",
    "secret.file-permissions": "Others may read the password file. The message has the command that mends it.",
    "internal.bug": "A mistake in smtpsetup itself. Report it with the command and the message; `-v` adds where it happened.",
}
_NOT_YET = {"connect.port-blocked", "connect.intercepted", "auth.token-expired", "auth.token-revoked", "auth.consent-required"}


def error_pages() -> str:
    """Every code that can be met, with its exit code, explanation and way out."""
    parts = []
    for code in sorted(ERROR_CODES - _NOT_YET):
        parts.append(f"## `{code}`\n\nExit code {exit_code_for(code)}.\n")
        explanation = EXPLANATIONS.get(code)
        if explanation is None:
            parts.append(f"{_RAISED_WITH_THEIR_OWN_TEXT[code]}\n")
        else:
            parts.append(f"{explanation.message}\n")
            parts += [f"- {cause}" for cause in explanation.causes]
            parts += ["", *(f"{number}. {hint}" for number, hint in enumerate(explanation.hints, start=1)), ""]
    return "\n".join(parts)


def provider_list() -> str:
    """The table's rows, one a line."""
    rows = sorted(Table(datetime.date(2026, 11, 24)).all(), key=lambda row: row.name.lower())
    lines = ["| provider | id | first server | takes | status |", "| --- | --- | --- | --- | --- |"]
    for row in rows:
        server = f"{row.servers[0]} {row.servers[0].security}" if row.servers else "-"
        lines.append(f"| {row.name} | `{row.id}` | {server} | {', '.join(row.auth) or '-'} | {row.status} |")
    return "\n".join(lines) + "\n"
