"""The sandbox, for people: how to use it, what it caught, and how it can fail."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from smtpsetup.core.i18n import gettext as _
from smtpsetup.diagnosis.meaning import meaning_of
from smtpsetup.render.human import console, fields, indented, show
from smtpsetup.render.prose import prose
from smtpsetup.sandbox.faults import DESCRIPTIONS

if TYPE_CHECKING:
    from rich.console import RenderableType

    from smtpsetup.diagnosis.rehearsal import ApiAnswer, Fault
    from smtpsetup.sandbox.server import CaughtMail, SandboxFacts


def ready(facts: SandboxFacts) -> None:
    """Print where the sandbox listens, and how to use it."""
    title = _("The sandbox catches mail; nothing leaves this machine. Stop it with Ctrl-C.")
    show(Group(Text(title, style="bold"), indented(fields(_listening(facts))), Text()))
    common = f"--host localhost --port {facts.tls_port} --security tls --ca-file {facts.ca_file}"
    _print_command(
        _("In another terminal: `{command}`").format(command=f"smtpsetup configure test@example.com {common}")
    )
    show(Text())


def _listening(facts: SandboxFacts) -> list[tuple[str, RenderableType]]:
    return [
        (_("TLS"), f"{facts.host}:{facts.tls_port}"),
        (_("STARTTLS"), f"{facts.host}:{facts.starttls_port}"),
        (_("Login"), _("any user name, password: {password}").format(password=facts.password)),
        (_("Authority"), facts.ca_file),
    ]


def faults(by_server: dict[str, Fault], by_command: dict[str, str]) -> None:
    """Print the result of `sandbox --list-faults`: what each code means, or a command that shows it."""
    rows: dict[str, RenderableType] = {code: Text(meaning_of(code).text) for code in by_server}
    rows |= {code: prose(f"`{command}`") for code, command in by_command.items()}
    show(fields([(code, rows[code]) for code in sorted(rows)]))
    show(Group(Text(), prose(_("Start one: `smtpsetup sandbox --fault CODE`. Those with a command need no server."))))


def _print_command(text: str) -> None:
    """Print a command that the terminal wraps, so that it can be copied whole."""
    console().print(prose(text), soft_wrap=True)


def failing(facts: SandboxFacts, code: str, fault: Fault) -> None:
    """Print where the failing sandbox listens, and the commands that meet its fault."""
    if fault.api:
        _failing_api(facts, code, fault.api)
        return
    needs = fault.needs.split()
    security = needs[needs.index("--security") + 1] if "--security" in needs else "tls"
    port = facts.tls_port if security == "tls" else facts.starttls_port
    of_test = needs if "--to" in needs else []
    of_account = [] if of_test or "--security" in needs else needs
    common = f"--host localhost --port {port} --security {security} --ca-file {facts.ca_file}"
    command = f"smtpsetup configure fault@example.com {common} {' '.join([*of_account, '--no-verify'])}"
    description = Text(f"{code}: {_(DESCRIPTIONS[fault.act]).format(reply=fault.reply)}")
    title = Text(_("This server fails on purpose. Stop it with Ctrl-C."), style="bold")
    show(Group(title, indented(fields([(_("Fault"), description), *_listening(facts)])), Text()))
    _print_command(_("In another terminal: `{command}`").format(command=command))
    _print_command(_("Then: `{command}`").format(command=" ".join(["smtpsetup test fault@example.com", *of_test])))
    show(Text())


def _failing_api(facts: SandboxFacts, code: str, answer: ApiAnswer) -> None:
    said = f"{answer.status} {answer.code}: {answer.message}"
    answers = _("answers: {reply}").format(reply=said)
    description = Text(f"{code}: {answers}")
    rows: list[tuple[str, RenderableType]] = [
        (_("Fault"), description),
        ("HTTPS", f"{facts.host}:{facts.tls_port}"),
        (_("Authority"), facts.ca_file),
    ]
    title = Text(_("This server fails on purpose. Stop it with Ctrl-C."), style="bold")
    show(Group(title, indented(fields(rows)), Text()))
    command = (
        f"smtpsetup configure fault@example.com --transport {answer.transport} "
        f"--endpoint https://localhost:{facts.tls_port} --ca-file {facts.ca_file} "
        "--token-command 'echo token' --no-verify"
    )
    _print_command(_("In another terminal: `{command}`").format(command=command))
    _print_command(_("Then: `{command}`").format(command="smtpsetup test fault@example.com"))
    show(Text())


def caught_mail(mail: CaughtMail) -> None:
    """Print a mail that the sandbox caught, as its reader would see it."""
    rows: list[tuple[str, RenderableType]] = [(label, Text(value)) for label, value in mail.shown_headers]
    rows.append((_("Envelope"), Text(f"{mail.sender} → {', '.join(mail.recipients)}")))
    rows += [(_("Login"), Text(mail.username))] if mail.username else []
    rows += [(_("Attachment"), Text(name)) for name in mail.attachments]
    rows += [(_("Saved as"), Text(mail.file))] if mail.file else []
    title = _("Mail {number}").format(number=mail.number)
    width = min(console().width, 78)
    head = Text(f"── {title} {'─' * max(0, width - len(title) - 4)}", style="bold green")
    show(Group(head, fields(rows), Text(), Text(mail.text.rstrip()), Text()))
