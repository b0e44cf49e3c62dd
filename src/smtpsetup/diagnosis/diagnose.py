"""The diagnosis of a failure, in the user's language. Nothing else interprets failures. No I/O."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, NamedTuple

from smtpsetup import DOCUMENTATION
from smtpsetup.address.hosts import is_loopback
from smtpsetup.config.secret_source import STORES
from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.exit_codes import EX_TEMPFAIL, LASTING
from smtpsetup.core.failure import Kind
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import Auth, Stage, TransportKind
from smtpsetup.diagnosis.advice import AFTER_LOGIN
from smtpsetup.diagnosis.evidence import (
    OBSERVED_CAUSES_ONLY,
    hints_of,
    observed_causes,
    refined_code,
)
from smtpsetup.diagnosis.explanation import FOR_UNSAVED, NEW_SECRET, PROVIDER, SECRET_ELSEWHERE, TOKEN_ELSEWHERE
from smtpsetup.diagnosis.explanations import EXPLANATIONS
from smtpsetup.diagnosis.rule import TRANSACTION, words
from smtpsetup.diagnosis.rules import RULES

if TYPE_CHECKING:
    from smtpsetup.config.account import Account
    from smtpsetup.core.failure import Evidence, Failure
    from smtpsetup.diagnosis.explanation import Explanation
    from smtpsetup.diagnosis.rule import Advice
    from smtpsetup.providers.row import Provider, Refusal

_CLOSED_WAYS = ("connect.port-blocked", "connect.timeout", "auth.disabled-by-admin")
_TOLD_BY_DETAIL = (Kind.TOO_LARGE, Kind.TOO_LARGE_FOR_PERMISSION, Kind.PROXY_FAILED)
_SOLVED_BY_ENABLE_STEPS = (
    "auth.bad-credentials",
    "auth.app-password-required",
    "auth.oauth2-required",
    "auth.disabled-by-admin",
)

# in a 4yz reply, what shows that it passes by itself after all
_PASSES = words(
    r"try (again|later)|\blater\b|temporar|time(d )?-?out|servfail|busy|overload|\b(seconds|minutes|hours)\b",
    r"not yet|under review|awaiting|maintenance|starting",
)

# texts in the error challenge for a refused token: RFC 7628 section 3.2.2, Google's HTTP status, Dovecot's own failure
_TOKEN_ERRORS = (
    ("insufficient_scope", "auth.scope-refused"),
    ("permission", "auth.scope-refused"),
    ("status: 403", "auth.scope-refused"),
    ("internal_failure", "auth.temporary"),
    ("status: 5", "auth.temporary"),
)


def error_code(failure: Failure, provider: Provider | None = None) -> str:
    """The error code of a failure, by the refusals in the provider's row or else by RULES."""
    return _found(failure, provider).code


class _Found(NamedTuple):
    """The error code of a failure, and what decided it."""

    code: str
    refusal: Refusal | None = None
    advice: Advice | None = None


def _found(failure: Failure, provider: Provider | None) -> _Found:
    refusal = _refusal(failure, provider)
    rule = next((rule for rule in RULES if rule.fits(failure)), None)
    # words that any server may use tell more than the row's number without words
    if refusal and (refusal.phrase or rule is None or not rule.is_by_words or rule.error == refusal.error):
        return _Found(refusal.error, refusal, rule.advice if rule and rule.error == refusal.error else None)
    if rule is None:
        return _Found("server.protocol-error")
    if rule.error == "auth.bad-credentials" and provider and provider.auth == (Auth.OAUTH2,):
        return _Found("auth.oauth2-required")
    return _Found(rule.error, advice=rule.advice)


def _explanation(found: _Found, code: str, failure: Failure, account: Account) -> Explanation:
    """The explanation of the code, with what is known better: by the rule, or because a login came before."""
    explanation = EXPLANATIONS[code]
    if code != found.code:
        return explanation
    has_logged_in = account.auth is not Auth.NONE and failure.stage in TRANSACTION
    advice = found.advice or (AFTER_LOGIN.get(code) if has_logged_in else None)
    if advice is None:
        return explanation
    responsible = advice.responsible or explanation.responsible
    return explanation._replace(causes=advice.causes, hints=advice.hints, responsible=responsible)


def diagnose(  # noqa: PLR0913  independent facts of one failure
    failure: Failure,
    account: Account,
    provider: Provider | None = None,
    *,
    is_saved: bool = True,
    evidence: Evidence | None = None,
    sender: str = "",
    recipient: str = "",
) -> SmtpsetupError:
    """The error to raise for a failure.

    `is_saved` is False while the account is being set up. `evidence` is what probing found, if it was done. `sender`
    and `recipient` are those of the mail, `""` where it has several recipients.
    """
    found = _found(failure, provider)
    code = _refined(found.code, failure, account, evidence)
    named = {"sender": sender or account.address, "recipient": recipient or _unnamed_recipient()}
    values = placeholder_values(account, is_saved=is_saved) | _failure_values(failure) | named
    explanation = _explanation(found, code, failure, account)
    applicable = _applicable_hints(explanation.hints, account, is_saved=is_saved)
    explanation = explanation._replace(hints=applicable).translated(values)
    causes, hints, known_cause, url = explanation.causes, explanation.hints, "", None
    if found.refusal and (found.refusal.causes or found.refusal.note):
        causes, known_cause = found.refusal.causes or (found.refusal.note,), found.refusal.note
    if evidence:
        observed = observed_causes(code, failure, evidence)
        known_cause = observed[0] if observed else known_cause
        causes = observed if observed and code in OBSERVED_CAUSES_ONLY else (*observed, *causes)
        is_known = provider is not None and not is_loopback(failure.server.host)
        hints = (*hints_of(code, evidence, str(values["configure"]), is_saved=is_saved, is_known=is_known), *hints)
    causes = (*_own_causes(code, failure, account), *causes)
    if provider and code in _SOLVED_BY_ENABLE_STEPS:
        causes = (*_provider_causes(code, provider, account), *causes)
        hints = (*provider.enable_steps, *hints)
        url = provider.enable_url or provider.docs_url or None
    hints = (*hints, *_api_hint(code, account, provider, str(values["configure"])))
    # the settings of a saved account have worked, so they are not mistyped
    responsible = _(PROVIDER) if code == "connect.refused" and is_saved else explanation.responsible
    return SmtpsetupError(
        code,
        _as_sentence(explanation.message),
        causes=causes,
        hints=hints,
        url=url,
        exit_code=EX_TEMPFAIL if _is_temporary(code, failure) else None,
        failure=failure,
        responsible=responsible,
        known_cause=known_cause,
    )


def _unnamed_recipient() -> str:
    return _("the recipient")


def _as_sentence(message: str) -> str:
    """The message with a capital letter where it begins with the recipient that has no name."""
    return message[:1].upper() + message[1:] if message.startswith(_unnamed_recipient()) else message


def _api_hint(code: str, account: Account, provider: Provider | None, configure: str) -> tuple[str, ...]:
    """The way over HTTPS, where the provider has one and the way over SMTP is closed."""
    api = provider.api if provider else None
    if api is None or account.transport is not TransportKind.SMTP or code not in _CLOSED_WAYS:
        return ()
    text = _("Or send over HTTPS instead: `{configure} --transport {transport}`.")
    return (text.format(configure=configure, transport=api.transport),)


def _own_causes(code: str, failure: Failure, account: Account) -> tuple[str, ...]:
    """The cause that follows from the account or the failure alone, where there is one."""
    if code == "rcpt.relay-denied" and account.auth is Auth.NONE:
        return (_("It wants a login first, and this account has none."),)
    return (f"{failure.detail}.",) if failure.kind in _TOLD_BY_DETAIL else ()


def _is_temporary(code: str, failure: Failure) -> bool:
    """Whether the same may succeed later: the reply is a 4yz, and its code or its text does not say otherwise."""
    reply = failure.reply
    if not reply or not reply.is_temporary:
        return False
    return code not in LASTING or re.search(_PASSES, reply.text, re.IGNORECASE) is not None


def _refined(code: str, failure: Failure, account: Account, evidence: Evidence | None) -> str:
    """The error code, made more precise by what the account authenticates with and by the evidence."""
    if account.auth is Auth.OAUTH2 and code in ("auth.bad-credentials", "auth.oauth2-required"):
        text = failure.reply.text if failure.reply else ""
        code = next((code for phrase, code in _TOKEN_ERRORS if phrase in text), "auth.token-revoked")
    return refined_code(code, failure, evidence) if evidence else code


def placeholder_values(account: Account, *, is_saved: bool) -> dict[str, object]:
    """What an account gives for the placeholders of an Explanation."""
    configure = _configure_command(account)
    return {
        "docs": DOCUMENTATION,
        "server": account.server,
        "username": account.username,
        "domain": account.address.rpartition("@")[2],
        "account": shlex.quote(account.name),
        "address": shlex.quote(account.address),
        "configure": configure,
        "sign_in": f"smtpsetup login {shlex.quote(account.name)}"
        if is_saved
        else f"{configure}{_sign_in_options(account)}",
        "place": account.secret.described(),
    }


def _failure_values(failure: Failure) -> dict[str, object]:
    """What a failure gives for the placeholders of an Explanation."""
    server = failure.server
    return {"server": server, "host": server.host, "port": server.port, "detail": _detail(failure)}


def _sign_in_options(account: Account) -> str:
    """The sign-in options that were given for an account that is not saved yet."""
    client, store = account.oauth2, STORES[account.secret.store]
    given = {
        "--provider": account.provider,
        "--client-id": client.client_id if client else "",
        "--issuer": client.issuer if client else "",
        "--scope": " ".join(client.scopes) if client and client.issuer else "",
        store.option: account.secret.reference if store.is_writable else "",
    }
    return " --auth oauth2" + "".join(f" {option} {shlex.quote(value)}" for option, value in given.items() if value)


def _detail(failure: Failure) -> str:
    if failure.kind is Kind.NO_COMMON_MECHANISM:
        return ", ".join(failure.offered)
    detail = failure.detail or (str(failure.reply) if failure.reply else "")
    return detail.replace("\n", " ")


def _configure_command(account: Account) -> str:
    name = "" if account.name == account.address else f" --account {shlex.quote(account.name)}"
    return f"smtpsetup configure {shlex.quote(account.address)}{name}"


def _applicable_hints(hints: tuple[str, ...], account: Account, *, is_saved: bool) -> tuple[str, ...]:
    """The hints for an account that is saved or not, and whose secret smtpsetup keeps or only reads."""
    if account.transport is not TransportKind.SMTP:
        hints = tuple(hint for hint in hints if "--host" not in hint and "--port" not in hint)
    if not is_saved:
        return tuple(hint for hint in (FOR_UNSAVED.get(hint, hint) for hint in hints) if hint)
    if account.auth is Auth.OAUTH2 and account.oauth2 is None:
        return tuple(TOKEN_ELSEWHERE if "{sign_in}" in hint else hint for hint in hints)
    if STORES[account.secret.store].is_writable:
        return hints
    return tuple(SECRET_ELSEWHERE if hint == NEW_SECRET else hint for hint in hints)


def _provider_causes(code: str, provider: Provider, account: Account) -> tuple[str, ...]:
    """The likeliest cause of refused credentials at a provider that wants an app password or a user name of its own."""
    if code != "auth.bad-credentials":
        return ()
    if Auth.APP_PASSWORD in provider.auth and Auth.PASSWORD not in provider.auth:
        text = _("{provider} takes only an app password here, not the one you sign in with on the web.")
        return (text.format(provider=provider.name),)
    if provider.username.form == "own" and "@" in account.username:
        text = _("At {provider} the user name is not the address but: {label}.")
        return (text.format(provider=provider.name, label=provider.username.label),)
    return ()


def _refusal(failure: Failure, provider: Provider | None) -> Refusal | None:
    reply = failure.reply
    if provider is None or reply is None or failure.kind is not Kind.REPLY or failure.stage is Stage.GREETING:
        return None
    text = reply.text.lower()
    for refusal in provider.refusals:
        if refusal.code == reply.code and refusal.enhanced in ("", reply.enhanced) and refusal.phrase in text:
            return refusal
    return None
