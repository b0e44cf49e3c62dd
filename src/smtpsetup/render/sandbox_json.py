"""The JSON documents of `sandbox` (docs/json.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from smtpsetup.diagnosis.rehearsal import Fault
    from smtpsetup.sandbox.server import CaughtMail, SandboxFacts


def sandbox(facts: SandboxFacts) -> dict[str, object]:
    """Where `sandbox` listens, and its login."""
    return {
        "host": facts.host,
        "tls_port": facts.tls_port,
        "starttls_port": facts.starttls_port,
        "ca_file": facts.ca_file,
        "password": facts.password,
    }


def faults(by_server: dict[str, Fault], by_command: dict[str, str]) -> list[dict[str, object]]:
    """The errors that `sandbox` can cause, and what causes each.

    That is an `act` of its server with a `reply` and options that it `needs`, or a `command` that needs no server.
    """
    listed: list[dict[str, object]] = [
        {
            "code": code,
            "stage": fault.stage,
            "act": fault.act,
            "reply": f"{fault.api.status} {fault.api.code}: {fault.api.message}" if fault.api else fault.reply or None,
            "needs": fault.needs or None,
            "command": None,
        }
        for code, fault in by_server.items()
    ]
    listed += [
        {
            "code": code,
            "stage": code.partition(".")[0],
            "act": None,
            "reply": None,
            "needs": None,
            "command": command,
        }
        for code, command in by_command.items()
    ]
    return sorted(listed, key=lambda fault: str(fault["code"]))


def caught_mail(mail: CaughtMail) -> dict[str, object]:
    """A mail that `sandbox` caught."""
    return {
        "number": mail.number,
        "username": mail.username,
        "sender": mail.sender,
        "recipients": mail.recipients,
        "subject": mail.subject,
        "size": len(mail.content),
        "file": mail.file,
    }
