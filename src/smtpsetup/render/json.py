"""The JSON documents (docs/json.md), each with a fixed set of keys. Enums are strings, and are written as such."""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import datetime
    from collections.abc import Mapping

    from smtpsetup.config.account import Account
    from smtpsetup.core.errors import SmtpsetupError
    from smtpsetup.core.failure import Reply, StageResult
    from smtpsetup.core.model import Server
    from smtpsetup.discovery.candidates import Candidate
    from smtpsetup.discovery.search import Discovery
    from smtpsetup.oauth.access_token import SignInAge
    from smtpsetup.outbox.mail import Mail
    from smtpsetup.outbox.summary import SentMail, Summary
    from smtpsetup.providers.row import Provider
    from smtpsetup.sending.batch import Totals
    from smtpsetup.sending.send_one import SendResult
    from smtpsetup.setup.findings import Finding
    from smtpsetup.setup.identify import Identification
    from smtpsetup.setup.test_account import AccountTestReport

SCHEMA = 1


def document(command: str, result: object | None, error: SmtpsetupError | None = None) -> str:
    """The JSON document of a command, on one line."""
    content: dict[str, object] = {"schema": SCHEMA, "command": command, "ok": error is None}
    if error is not None:
        content["error"] = _error(error)
    if result is not None:
        content["result"] = result
    return line(content)


def line(value: Mapping[str, object]) -> str:
    """An object as JSON on one line, in ASCII unless standard output is UTF-8.

    Control characters that JSON allows, bidirectional overrides and lone surrogates are always escaped.
    """
    is_utf8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    text = json.dumps(value, ensure_ascii=not is_utf8)
    return re.sub("[\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", lambda found: f"\\u{ord(found[0]):04x}", text)


def _error(error: SmtpsetupError) -> dict[str, object]:
    from smtpsetup.core.exit_codes import EX_TEMPFAIL  # needed for errors only

    failure = error.failure
    return {
        "code": error.code,
        "stage": error.stage,
        "message": error.message,
        "causes": error.causes,
        "hints": error.hints,
        "url": error.url,
        # after data.lost-before-reply the mail may have been delivered
        "retry": error.exit_code == EX_TEMPFAIL and error.code != "data.lost-before-reply",
        "reply": reply(failure.reply) if failure else None,
    }


def reply(value: Reply | None) -> dict[str, object] | None:
    """A server's reply; None for none."""
    return None if value is None else {"code": value.code, "enhanced": value.enhanced or None, "text": value.text}


def server(value: Server) -> dict[str, object]:
    """A server."""
    return {"host": value.host, "port": value.port, "security": value.security}


def identification(found: Identification, *, with_candidates: bool = False) -> dict[str, object]:
    """The result of `identify`. `with_candidates`, for --all, adds every candidate and the answer of each source."""
    provider = found.provider
    notes = [*found.remarks]
    if provider:
        notes += [note for note in (*provider.notes, provider.from_policy) if note]
    view: dict[str, object] = {
        "address": str(found.address),
        "domain": found.address.domain,
        "provider": {"id": provider.id, "name": provider.name} if provider else None,
        "source": found.source,
        "confidence": found.confidence,
        "servers": [server(value) for value in found.servers],
        "username": found.username,
        "username_note": found.username_note,
        "auth": found.auth,
        "status": provider.status if provider else "ok",
        "enable": _enable(provider) if provider else {"steps": [], "url": None},
        "limits": dict(provider.limits) if provider else {},
        "notes": notes,
        "docs_url": (provider.docs_url or None) if provider else None,
        "last_checked": _day(found.last_checked),
        "needs_confirmation": found.needs_confirmation,
    }
    if with_candidates and found.discovery:
        view |= sources(found.discovery)
    elif with_candidates:
        view |= {"candidates": [_table_candidate(found)], "sources": []}
    return view


def _table_candidate(found: Identification) -> dict[str, object]:
    origin = found.provider.file if found.provider else ""
    return {"source": found.source, "trust": "table", "origin": origin, **_settings(found), "agrees": True}


def _settings(one: Identification | Candidate) -> dict[str, object]:
    return {
        "provider": one.provider.id if one.provider else None,
        "servers": [server(value) for value in one.servers],
        "username": one.username,
        "auth": one.auth,
    }


def sources(discovery: Discovery) -> dict[str, object]:
    """What discovery found, best first, and how each source answered.

    `agrees` is whether a candidate means the same provider as the best.
    """
    from smtpsetup.discovery.search import agree  # needed after a search only

    return {
        "candidates": [
            {
                "source": one.source,
                "trust": one.trust,
                "origin": one.origin,
                **_settings(one),
                "agrees": agree(discovery.candidates[0], one),
            }
            for one in discovery.candidates
        ],
        "sources": [
            {
                "source": report.source,
                "origin": report.origin,
                "outcome": report.outcome,
                "ms": report.ms,
                "detail": report.detail,
            }
            for report in discovery.reports
        ],
    }


def provider_line(row: Provider) -> dict[str, object]:
    """A row of `providers list`."""
    return {
        "id": row.id,
        "name": row.name,
        "domains": row.domains,
        "servers": [server(value) for value in row.servers],
        "auth": row.auth,
        "status": row.status,
        "confidence": row.confidence,
        "last_checked": _day(row.last_checked),
        "file": row.file,
    }


def provider(row: Provider) -> dict[str, object]:
    """The result of `providers show`: the whole row."""
    return {
        **provider_line(row),
        "mx_suffixes": row.mx_suffixes,
        "username": {
            "form": row.username.form,
            "value": row.username.value or None,
            "label": row.username.label or None,
        },
        "enable": _enable(row),
        "limits": dict(row.limits),
        "from_policy": row.from_policy or None,
        "notes": row.notes,
        "refusals": [
            {
                "code": refusal.code,
                "enhanced": refusal.enhanced or None,
                "phrase": refusal.phrase or None,
                "error": refusal.error,
                "note": refusal.note,
                "causes": refusal.causes,
            }
            for refusal in row.refusals
        ],
        "docs_url": row.docs_url or None,
        "sources": [
            {
                "at": source.at,
                "date": _day(source.date),
                "still_listed": _day(source.still_listed),
                "note": source.note or None,
            }
            for source in row.sources
        ],
    }


def _day(value: datetime.date | None) -> str | None:
    return value.isoformat() if value else None


def _enable(row: Provider) -> dict[str, object]:
    return {"steps": row.enable_steps, "url": row.enable_url or None}


def account(value: Account, *, is_default: bool) -> dict[str, object]:
    """The result of `configure` and `accounts show`."""
    return {
        "account": value.name,
        "address": value.address,
        "from_name": value.from_name,
        "provider": value.provider or None,
        **server(value.server),
        "auth": value.auth,
        "username": value.username,
        "secret_store": value.secret.store,
        "default": is_default,
        "verified": value.verified,
        "transport": value.transport,
        "endpoint": value.endpoint or None,
        "proxy": str(value.proxy) if value.proxy else None,
        "fallback": value.fallback,
    }


def sign_in(account: Account, age: SignInAge | None) -> dict[str, object]:
    """What `accounts show` adds for an account that signs in with OAuth2: the days since the last use and sign-in."""
    return {
        "client_id": account.oauth2.client_id if account.oauth2 else None,
        "unused_days": None if age is None else round(age.unused, 2),
        "signed_in_days": None if age is None or age.signed_in is None else round(age.signed_in, 2),
        "lives_unused_days": account.oauth2.unused_days or None if account.oauth2 else None,
        "app_only": account.oauth2 is not None and account.oauth2.is_app_only,
        "secret_expires": account.oauth2.secret_expires or None if account.oauth2 else None,
    }


def account_test(report: AccountTestReport) -> dict[str, object]:
    """The result of `test`."""
    tls = report.tls
    return {
        "account": report.account.name,
        "server": server(report.account.server),
        "stages": [_stage(result) for result in report.stages],
        "capabilities": report.capabilities,
        "tls": {
            "version": tls.version,
            "cipher": tls.cipher,
            "not_after": tls.not_after or None,
            "issuer": tls.issuer or None,
        }
        if tls
        else None,
        "message_id": report.message_id,
        "to": report.to,
        "working_alternative": server(report.alternative) if report.alternative else None,
    }


def _stage(result: StageResult) -> dict[str, object]:
    return {
        "stage": result.stage,
        "status": result.status,
        "ms": result.ms,
        "detail": result.detail,
        "reply": reply(result.reply),
    }


def send_result(result: SendResult) -> dict[str, object]:
    """The result of `send`."""
    return {
        "account": result.account,
        "message_id": result.message_id,
        "accepted": result.accepted,
        "refused": [
            {
                "address": entry.address,
                "code": entry.error.code,
                "reply": reply(entry.error.failure.reply if entry.error.failure else None),
            }
            for entry in result.refused
        ],
        "queued": result.outbox_id is not None,
        "outbox_id": result.outbox_id,
        "reply": reply(result.reply),
    }


def batch_line(result: SendResult, place: dict[str, object]) -> str:
    """One line of `send --batch --json`: the `send` result, its `place` in the batch, and its error."""
    error = _error(result.error) if result.error else None
    return line({**send_result(result), **place, "ok": error is None, "error": error})


def totals(value: Totals, seconds: float) -> dict[str, object]:
    """The last line of `send --batch --json`."""
    return {
        "total": value.total,
        "sent": value.sent,
        "queued": value.queued,
        "failed": value.failed,
        "unknown": value.unknown,
        "sent_before": value.before,
        "not_tried": value.left,
        "seconds": round(seconds, 3),
    }


def outbox_mail(mail: Mail) -> dict[str, object]:
    """A mail of `outbox list`."""
    return {
        "outbox_id": mail.id,
        "account": mail.account,
        "message_id": mail.message_id,
        "recipients": mail.recipients,
        "subject": mail.subject,
        "state": mail.state,
        "attempts": mail.attempts,
        "next_attempt": None if mail.next_attempt is None else moment(mail.next_attempt),
        "last_reply": mail.last_reply or None,
        "queued_at": moment(mail.queued_at),
    }


def sent_mail(mail: SentMail) -> dict[str, object]:
    """A mail of `outbox list --sent`."""
    return {
        "outbox_id": mail.id,
        "account": mail.account,
        "message_id": mail.message_id,
        "recipients": mail.recipients,
        "subject": mail.subject,
        "queued_at": moment(mail.queued_at),
        "sent_at": moment(mail.sent_at),
    }


def outbox_summary(found: Summary) -> dict[str, object]:
    """The result of `outbox status`."""
    return {
        **{state: found.count(state) for state in ("waiting", "sending", "unknown", "failed")},
        "oldest": None if found.oldest is None else moment(found.oldest),
        "per_minute": found.per_minute,
        "seconds_left": None if found.seconds_left is None else round(found.seconds_left),
        "workers": found.workers,
        "by_code": [{"state": one.state, "error": one.code or None, "mails": one.number} for one in found.counts],
        "held": [
            {
                "host": one.host,
                "account": one.account,
                "error": one.code,
                "reply": one.reply,
                "until": moment(one.until),
            }
            for one in found.held
        ],
    }


def doctor(account: Account | None, findings: list[Finding]) -> dict[str, object]:
    """The result of `doctor`: each check with its `status` (`ok`, `warning`, `wrong`)."""
    return {
        "account": account.name if account else None,
        "checks": [
            {
                "check": one.check,
                "status": one.status,
                "message": one.message,
                "hints": one.hints,
                "code": one.error.code if one.error else None,
            }
            for one in findings
        ],
    }


def moment(seconds: float) -> str:
    """A time in seconds since 1970 as ISO 8601 in UTC."""
    import datetime  # most documents have no time

    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
