"""Rules for DNS, TCP, TLS and the start of a session."""

from __future__ import annotations

from smtpsetup.core.failure import Kind
from smtpsetup.core.model import Stage
from smtpsetup.diagnosis.phrases import BLOCKLIST, TOO_MANY
from smtpsetup.diagnosis.rule import TRANSACTION, Rule, words

_OPENING = (Stage.GREETING, Stage.EHLO, Stage.STARTTLS)

CONNECTION_RULES: tuple[Rule, ...] = (
    # DNS and TCP
    Rule("dns.not-found", kind=Kind.NAME_NOT_FOUND),
    Rule("dns.temporary", kind=Kind.NAME_TEMPORARY),
    Rule("dns.temporary", (Stage.DNS,), Kind.TIMEOUT),
    Rule("connect.proxy-failed", kind=Kind.PROXY_FAILED),
    Rule("connect.refused", kind=Kind.REFUSED),
    Rule("connect.unreachable", kind=Kind.UNREACHABLE),
    # most networks block port 25 except between mail servers
    Rule("connect.port-blocked", (Stage.CONNECT,), Kind.TIMEOUT, ports=(25,)),
    Rule("connect.timeout", (Stage.CONNECT,), Kind.TIMEOUT),
    Rule("connect.port-blocked", codes=(5,), phrase=r"use port (587|465)|instead of port 25"),
    # TLS
    Rule("tls.certificate-expired", kind=Kind.CERTIFICATE_EXPIRED),
    Rule("tls.certificate-expired", kind=Kind.CERTIFICATE_NOT_YET_VALID),
    Rule("tls.hostname-mismatch", kind=Kind.HOSTNAME_MISMATCH),
    Rule("tls.untrusted", kind=Kind.CERTIFICATE_UNTRUSTED),
    Rule("tls.fingerprint-mismatch", kind=Kind.FINGERPRINT_MISMATCH),
    Rule("tls.protocol-too-old", kind=Kind.TLS_TOO_OLD),
    Rule("tls.not-spoken", kind=Kind.TLS_NOT_SPOKEN),
    Rule("tls.expected", kind=Kind.TLS_EXPECTED),
    Rule("tls.handshake-failed", (Stage.TLS,), Kind.CLOSED),
    Rule("tls.handshake-failed", (Stage.TLS,), Kind.TIMEOUT),
    Rule("tls.handshake-failed", kind=Kind.TLS_FAILED),
    # the greeting
    Rule("greeting.not-smtp", kind=Kind.NOT_SMTP),
    Rule("greeting.timeout", (Stage.GREETING,), Kind.TIMEOUT),
    Rule("server.client-blocked", (Stage.GREETING,), phrase=r"\babus(e|ive)\b|excessive"),
    Rule("limit.rate", _OPENING, phrase=TOO_MANY),
    Rule("server.client-blocked", _OPENING, phrase=BLOCKLIST),
    Rule("limit.quota", (Stage.GREETING,), phrase=r"\bquota\b|daily"),
    Rule("server.temporary", (Stage.GREETING,), codes=(4,)),
    Rule("greeting.rejected", (Stage.GREETING,)),
    # the EHLO name; servers may delay this refusal until RCPT
    Rule(
        "ehlo.name-rejected",
        (Stage.EHLO, *TRANSACTION),
        phrase=words(
            r"\b(helo|ehlo)\b.*(reject|invalid|need|denied|fully)", r"(bad|invalid) (helo|ehlo)", r"\((helo|ehlo)\)"
        ),
    ),
    Rule("ehlo.name-rejected", (Stage.EHLO,), codes=(501, 504, 550)),
    # STARTTLS
    Rule("starttls.not-offered", (Stage.STARTTLS,), Kind.NOT_OFFERED),
    Rule("starttls.injection", kind=Kind.INJECTION),
    Rule("server.shutting-down", (Stage.STARTTLS,), codes=(421,)),
    Rule("starttls.refused", (Stage.STARTTLS,)),
    Rule("starttls.required", kind=Kind.UNPROTECTED),
    Rule("starttls.required", enhanced=r"5\.7\.1[01]"),
    Rule(
        "starttls.required",
        (Stage.EHLO, Stage.AUTH, Stage.MAIL, Stage.RCPT),
        codes=(5,),
        phrase=words(
            r"starttls|encrypt|secure connection|non-secure",
            r"\b(ssl|tls)\b.*(required|needed)",
            r"\b(requires?|needs?|without|only over|must use|please use|enable) (ssl|tls)\b",
            r"(plain|clear) ?text (auth\w*|login|password)s?\b.*(not |dis)(allow|permit|support|accept)",
        ),
    ),
    Rule("starttls.required", codes=(538,)),
)
