"""What a failure means, in the person's language, with the way out.

Pure: the only place where a failure gets its meaning.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from smtpsetup.config.secret_source import STORES, Store
from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.exit_codes import EX_TEMPFAIL
from smtpsetup.core.failure import Kind
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import Auth, Stage
from smtpsetup.diagnosis.evidence import SEEN_IS_ALL, alternative_hint, seen_causes, sharpened
from smtpsetup.diagnosis.explanation import ELSEWHERE, FOR_UNSAVED, NEW_SECRET, PROVIDER, TOKEN_ELSEWHERE
from smtpsetup.diagnosis.explanations import EXPLANATIONS
from smtpsetup.diagnosis.rules import RULES

if TYPE_CHECKING:
    from smtpsetup.config.account import Account
    from smtpsetup.core.failure import Evidence, Failure
    from smtpsetup.providers.table import Provider, Refusal

_PROVIDER_STEPS_HELP = (
    "auth.bad-credentials",
    "auth.app-password-required",
    "auth.oauth2-required",
    "auth.disabled-by-admin",
)


# what the challenge before the refusal of a token says: RFC 7628 section 3.2.2, an HTTP status as Google writes it,
# Dovecot's own trouble
_CHALLENGES = (
    ("insufficient_scope", "auth.scope-refused"),
    ("status: 403", "auth.scope-refused"),
    ("internal_failure", "auth.temporary"),
    ("status: 5", "auth.temporary"),
)


def error_code(failure: Failure, provider: Provider | None = None) -> str:
    """The error code of a failure: what the provider's row says of its own replies first, then the general rules."""
    refusal = _refusal(failure, provider)
    if refusal:
        return refusal.error
    code = next((rule.error for rule in RULES if rule.fits(failure)), "server.protocol-error")
    if code == "auth.bad-credentials" and provider and provider.auth == (Auth.OAUTH2,):
        return "auth.oauth2-required"
    return code


def diagnose(
    failure: Failure,
    account: Account,
    provider: Provider | None = None,
    *,
    is_saved: bool = True,
    evidence: Evidence | None = None,
) -> SmtpsetupError:
    """The failure as an error for a person, ready to be raised.

    `is_saved` is False while the account is only being set up.

    `evidence` is what a second look found, if there was one.
    """
    code = error_code(failure, provider)
    if account.auth is Auth.OAUTH2 and code in ("auth.bad-credentials", "auth.oauth2-required"):
        said = failure.reply.text if failure.reply else ""  # it was a token that was refused, and no password
        code = next((code for words, code in _CHALLENGES if words in said), "auth.token-revoked")
    if evidence:
        code = sharpened(code, failure, evidence)
    explanation = EXPLANATIONS[code]
    facts = {
        **facts_of(account, is_saved=is_saved),
        "server": failure.server,
        "host": failure.server.host,
        "port": failure.server.port,
        "detail": _detail(failure),
    }
    refusal = _refusal(failure, provider)
    causes = tuple(_(cause).format(**facts) for cause in explanation.causes)
    if refusal and (refusal.causes or refusal.note):
        causes = refusal.causes or (refusal.note,)
    hints = tuple(_(hint).format(**facts) for hint in _fitting(explanation.hints, account, is_saved=is_saved))
    if evidence:
        seen = seen_causes(code, failure, evidence)
        causes = seen if seen and code in SEEN_IS_ALL else (*seen, *causes)
        hints = (*alternative_hint(evidence, str(facts["configure"]), is_saved=is_saved), *hints)
    if failure.kind is Kind.TOO_LARGE:
        causes = (f"{failure.detail}.", *causes)
    url = None
    if provider and code in _PROVIDER_STEPS_HELP:
        causes = _provider_causes(code, provider, account, causes)
        hints = (*provider.enable_steps, *hints) if provider.enable_steps else hints
        url = provider.enable_url or provider.docs_url or None
    # an account that has worked is no typing mistake
    whose = PROVIDER if code == "connect.refused" and is_saved else explanation.responsible
    temporary = failure.reply is not None and failure.reply.is_temporary
    return SmtpsetupError(
        code,
        _(explanation.message).format(**facts),
        causes=causes,
        hints=hints,
        url=url,
        exit_code=EX_TEMPFAIL if temporary else None,
        failure=failure,
        responsible=_(whose) if whose else "",
    )


def facts_of(account: Account, *, is_saved: bool) -> dict[str, object]:
    """What the explanations say of an account, by the names in their braces."""
    configure = _configure_command(account)
    return {
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


def _sign_in_options(account: Account) -> str:
    """What was said about signing in to an account that is not saved yet."""
    client = account.oauth2
    typed = {
        "--provider": account.provider,
        "--client-id": client.client_id if client else "",
        "--issuer": client.issuer if client else "",
        "--scope": " ".join(client.scopes) if client and client.issuer else "",
        "--password-file": account.secret.reference if account.secret.store is Store.FILE else "",
    }
    return " --auth oauth2" + "".join(f" {option} {shlex.quote(value)}" for option, value in typed.items() if value)


def _detail(failure: Failure) -> str:
    if failure.kind is Kind.NO_COMMON_MECHANISM:
        return ", ".join(failure.offered)
    detail = failure.detail or (str(failure.reply) if failure.reply else "")
    return detail.replace("\n", " ")


def _configure_command(account: Account) -> str:
    name = "" if account.name == account.address else f" --account {shlex.quote(account.name)}"
    return f"smtpsetup configure {shlex.quote(account.address)}{name}"


def _fitting(hints: tuple[str, ...], account: Account, *, is_saved: bool) -> tuple[str, ...]:
    """The hints that fit an account: saved or only being set up, its password kept by smtpsetup or elsewhere."""
    if not is_saved:
        return tuple(hint for hint in (FOR_UNSAVED.get(hint, hint) for hint in hints) if hint)
    if account.auth is Auth.OAUTH2 and account.oauth2 is None:
        return tuple(TOKEN_ELSEWHERE if "{sign_in}" in hint else hint for hint in hints)
    if STORES[account.secret.store].is_writable:
        return hints
    return tuple(ELSEWHERE if hint == NEW_SECRET else hint for hint in hints)


def _provider_causes(code: str, provider: Provider, account: Account, causes: tuple[str, ...]) -> tuple[str, ...]:
    """For a refused password at a provider that takes only app passwords, the likeliest cause first."""
    takes_own_password = Auth.PASSWORD in provider.auth
    if code == "auth.bad-credentials" and Auth.APP_PASSWORD in provider.auth and not takes_own_password:
        likely = _("{provider} takes only an app password here, not the one you sign in with on the web.").format(
            provider=provider.name
        )
        return (likely, *causes)
    if code == "auth.bad-credentials" and provider.username.form == "own" and "@" in account.username:
        likely = _("At {provider} the user name is not the address but: {label}.").format(
            provider=provider.name, label=provider.username.label
        )
        return (likely, *causes)
    return causes


def _refusal(failure: Failure, provider: Provider | None) -> Refusal | None:
    reply = failure.reply
    if provider is None or reply is None or failure.stage is Stage.GREETING:
        return None
    text = reply.text.lower()
    for refusal in provider.refusals:
        if refusal.code == reply.code and refusal.enhanced in ("", reply.enhanced) and refusal.phrase in text:
            return refusal
    return None
