"""What evidence adds to a diagnosis: a more precise code, observed causes, and a server that works. No I/O."""

from __future__ import annotations

import datetime
import re
from typing import TYPE_CHECKING

from smtpsetup.core.i18n import gettext as _

if TYPE_CHECKING:
    from smtpsetup.core.failure import Evidence, Failure

_CLOCK_SECONDS = 3600.0  # a smaller difference is not mentioned as a cause
_HOST_NAME = r"[A-Za-z0-9][A-Za-z0-9.-]*\.[A-Za-z0-9-]+"
_MAX_NAMES = 4
OBSERVED_CAUSES_ONLY = ("tls.untrusted",)  # codes for which observed causes replace the possible ones


def refined_code(code: str, failure: Failure, evidence: Evidence) -> str:
    """The error code that the evidence supports."""
    other_port_answers = evidence.alternative is not None and evidence.alternative.host == failure.server.host
    if code == "connect.timeout" and (evidence.web_is_reachable or other_port_answers):
        return "connect.port-blocked"
    if code == "tls.hostname-mismatch" and evidence.is_impostor:
        return "connect.intercepted"
    return code


def observed_causes(code: str, failure: Failure, evidence: Evidence) -> tuple[str, ...]:
    """Causes that the evidence shows, to be listed before possible ones."""
    found: list[str] = []
    if code in ("tls.hostname-mismatch", "connect.intercepted"):
        found += _names(evidence)
    if code == "tls.certificate-expired":
        found += _dates(evidence)
    if code == "tls.untrusted":
        found += _issuer(failure, evidence)
    if code == "connect.timeout" and evidence.web_is_reachable is False:
        found.append(_("Nothing else could be reached from here either: this machine may be offline."))
    return tuple(found)


def hints_of(code: str, evidence: Evidence, configure: str, *, is_saved: bool, is_known: bool) -> tuple[str, ...]:
    """What to do by what was found. `configure` changes the account; `is_known`: the server is in the table."""
    certificate = _certificate_hint(code, evidence, configure, is_known=is_known)
    return (*_alternative_hint(evidence, configure, is_saved=is_saved), *certificate)


def _alternative_hint(evidence: Evidence, configure: str, *, is_saved: bool) -> tuple[str, ...]:
    """How to use the server that works, or that the owner of the domain names, if one was found."""
    server = evidence.alternative or evidence.owners_server
    if server is None:
        return ()
    if evidence.alternative is None and not evidence.is_owner_certain:
        text = _("{origin} names {host} today, which is not certain: ask your provider which server is right.")
        return (text.format(origin=evidence.owners_origin, host=server.host),)
    options = f"--host {server.host} --port {server.port} --security {server.security}"
    if evidence.alternative is None:
        text = _("{origin} names another server today. If that is your provider's: `{configure} {options}`.")
        return (text.format(origin=evidence.owners_origin, configure=configure, options=options),)
    if is_saved:
        text = _("{server} works from here: `{configure} {options}`.")
    else:
        text = _("{server} works from here: run the command again with `{options}`.")
    return (text.format(server=server, configure=configure, options=options),)


def _certificate_hint(code: str, evidence: Evidence, configure: str, *, is_known: bool) -> tuple[str, ...]:
    """How to go on with the certificate that the server shows, where that may be right; none for other errors.

    `is_known` says that the server is in the provider table: its certificate must be one that every machine trusts.
    """
    certificate = evidence.certificate
    if certificate is None or code not in ("tls.hostname-mismatch", "tls.untrusted"):
        return ()
    if is_known:
        return (_("Do not go on: this is not the provider's certificate. Try it from another network."),)
    if code == "tls.hostname-mismatch":
        name = next((name for name in certificate.names if re.fullmatch(_HOST_NAME, name)), None)  # pasted into a shell
        text = _("If {name} is your provider's server, use that name: `{configure} --host {name}`.")
        return (text.format(name=name, configure=configure),) if name else ()
    if code == "tls.untrusted" and certificate.is_self_signed:
        text = _(
            "Do not go on unless the server is yours and has this fingerprint: "
            "`{configure} --tls-fingerprint {digits}`."
        )
        return (text.format(configure=configure, digits=certificate.fingerprint),)
    return ()


def _names(evidence: Evidence) -> list[str]:
    found = []
    if evidence.certificate and evidence.certificate.names:
        names = ", ".join(evidence.certificate.names[:_MAX_NAMES])
        found.append(_("The certificate is made out to {names}.").format(names=names))
    if evidence.greeting:
        found.append(_("What answers there greets with: {greeting}").format(greeting=evidence.greeting.splitlines()[0]))
    return found


def _dates(evidence: Evidence) -> list[str]:
    found = []
    ahead = evidence.clock_ahead_seconds
    if ahead is not None and abs(ahead) > _CLOCK_SECONDS:
        text = (
            _("This machine's clock is about {n} hours fast.")
            if ahead > 0
            else _("This machine's clock is about {n} hours slow.")
        )
        found.append(text.format(n=round(abs(ahead) / 3600)))
    certificate = evidence.certificate
    if certificate and certificate.not_before > datetime.datetime.now(datetime.UTC):
        found.append(
            _("The certificate is not valid before {day}.").format(day=certificate.not_before.date().isoformat())
        )
    elif certificate:
        found.append(_("The certificate expired on {day}.").format(day=certificate.not_after.date().isoformat()))
    return found


def _issuer(failure: Failure, evidence: Evidence) -> list[str]:
    certificate = evidence.certificate
    if certificate is None:
        return []
    if certificate.is_self_signed:
        return [_("The server signed its certificate itself, as a NAS, a company server or Proton Bridge does.")]
    if "in certificate chain" in failure.detail:
        text = _(
            "It was signed by {issuer}: an antivirus program or a company proxy that looks into connections, or a "
            "company's own authority."
        )
    else:
        text = _(
            "It was signed by {issuer}: the server leaves out the certificate that leads on to a known authority, or "
            "this machine knows none."
        )
    return [text.format(issuer=certificate.issuer or "?")]
