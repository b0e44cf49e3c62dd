"""The JSON documents of `relay` (docs/json.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smtpsetup.relay.running import shown
from smtpsetup.render.json import moment

if TYPE_CHECKING:
    from smtpsetup.outbox.mail import Mail, NewMail
    from smtpsetup.relay.card import Card
    from smtpsetup.relay.clients import Client
    from smtpsetup.relay.running import Where
    from smtpsetup.relay.status import Status
    from smtpsetup.sending.send_one import SendResult


def client(one: Client) -> dict[str, object]:
    """A client, without its password."""
    return {
        "name": one.name,
        "from": list(one.senders),
        "account": one.account or None,
        "net": list(one.nets),
        "per_day": one.per_day,
        "old_tls": one.old_tls,
    }


def status(found: Status) -> dict[str, object]:
    """The result of `relay --status`."""
    return {
        "listening": found.is_listening,
        "address": found.address or None,
        "fault": found.fault or None,
        "clients": found.clients,
        "waiting": found.waiting,
        "failed": found.failed,
        "upstream": [
            {
                "account": one.account,
                "waiting": one.waiting,
                "error": one.code,
                "reply": one.reply or None,
                "next_attempt": None if one.next_attempt is None else moment(one.next_attempt),
            }
            for one in found.upstream
        ],
    }


def running(place: Where, certificate: str) -> dict[str, object]:
    """Where a relay listens; the first line of `relay --json`."""
    return {
        "event": "listening",
        "address": shown(place.host, place.port),
        "tls_address": shown(place.host, place.tls_port) if place.tls_port else None,
        "starttls": place.has_starttls,
        "certificate_sha256": certificate or None,
    }


def taken(number: int, mail: NewMail) -> dict[str, object]:
    """A mail that is in the outbox."""
    return {
        "event": "taken",
        "outbox_id": number,
        "client": mail.client,
        "account": mail.account,
        "message_id": mail.message_id,
        "sender": mail.envelope.sender,
        "recipients": mail.envelope.recipients,
        "size": mail.message.size,
    }


def result(mail: Mail, result: SendResult) -> dict[str, object]:
    """A mail that was tried."""
    return {
        "event": "tried",
        "outbox_id": mail.id,
        "client": mail.client or None,
        "account": mail.account,
        "message_id": mail.message_id,
        "accepted": result.accepted,
        "error": result.error.code if result.error else None,
        "reply": str(result.reply) if result.reply else None,
    }


def card(found: Card) -> dict[str, object]:
    """The result of `card`."""
    fields = [
        {"for": line.card, "label": line.label, "value": line.value, "note": line.note or None} for line in found.lines
    ]
    return {"fields": fields, "remarks": [*found.start, *found.remarks]}
