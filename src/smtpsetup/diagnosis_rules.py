"""From a failure's facts to an error code: rules as data, the first that fits decides. A provider's own refusals stand in its row and come first.

Rules rest on stage, kind and codes; phrases only tell apart what the codes leave open, and are the short words that wordings share.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from smtpsetup.failure import Failure, Kind
from smtpsetup.model import Stage


@dataclass(frozen=True, slots=True)
class Rule:
    """Fits a failure when everything that is given fits.

    `codes` are reply codes or their first digits, `enhanced` patterns of enhanced codes, `ports` the server's; beside the SASL
    mechanisms in `only_offered` the server offers none.
    """

    error: str
    stages: tuple[Stage, ...] = ()
    kind: Kind = Kind.REPLY
    codes: tuple[int, ...] = ()
    enhanced: str = ""
    phrase: str = ""
    detail: str = ""
    ports: tuple[int, ...] = ()
    only_offered: tuple[str, ...] = ()

    def fits(self, failure: Failure) -> bool:
        """Whether this rule speaks of that failure."""
        if self.kind is not failure.kind or (self.stages and failure.stage not in self.stages) or (self.detail and self.detail != failure.detail):
            return False
        if (self.ports and failure.server.port not in self.ports) or (self.only_offered and not set(failure.offered) <= set(self.only_offered)):
            return False
        reply = failure.reply
        if reply is None:
            return not (self.codes or self.enhanced or self.phrase)
        if self.codes and not any(str(reply.code).startswith(str(code)) for code in self.codes):
            return False
        if self.enhanced and not re.fullmatch(self.enhanced, reply.enhanced):
            return False
        return not self.phrase or re.search(self.phrase, _words(reply.text), re.IGNORECASE) is not None


def _words(text: str) -> str:
    """What a server says in its own words: addresses and web addresses in it may hold any word."""
    return re.sub(r"<[^<>\s]*@[^<>\s]*>|https?://\S+|\S+@\S+", "", text)


_SENDER = (
    r"sender|from address|from header|send as|sendas|not owned|relay(ing)? .*as |mail from .*must|auth(ori[sz]ed|enticated)? .*send from"
    r"|send from this|not allowed to send"
)
_MAIL_ON = (Stage.MAIL, Stage.RCPT, Stage.DATA)
_BLOCKLIST = (
    r"blocked (using|by)|block ?list|black ?list|spamhaus|barracuda|listed (at|by|in|on)|(ip|address|host) .*blocked|poor reputation|\brbl\b|dnsbl"
)
_TOO_MANY = r"too many|\brate\b|too (fast|frequent)|throttl|concurrent|slow down"
_MAILBOX_FULL = r"mailbox (is )?full|over ?quota|storage"

RULES: tuple[Rule, ...] = (
    # the name and the connection
    Rule("dns.not-found", kind=Kind.NAME_NOT_FOUND),
    Rule("dns.temporary", kind=Kind.NAME_TEMPORARY),
    Rule("dns.temporary", (Stage.DNS,), Kind.TIMEOUT),
    Rule("connect.refused", kind=Kind.REFUSED),
    Rule("connect.unreachable", kind=Kind.UNREACHABLE),
    Rule("connect.port-blocked", (Stage.CONNECT,), Kind.TIMEOUT, ports=(25,)),  # blocked nearly everywhere but between mail servers
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
    Rule("limit.rate", (Stage.GREETING,), codes=(4,), phrase=_TOO_MANY),
    Rule("server.client-blocked", (Stage.GREETING,), phrase=_BLOCKLIST),
    Rule("server.temporary", (Stage.GREETING,), codes=(4,)),
    Rule("greeting.rejected", (Stage.GREETING,)),
    # the name we greet with; servers may hold that complaint back until RCPT
    Rule(
        "ehlo.name-rejected",
        (Stage.EHLO, *_MAIL_ON),
        phrase=r"\b(helo|ehlo)\b.*(reject|invalid|need|denied|fully)|invalid (helo|ehlo)|\((helo|ehlo)\)",
    ),
    Rule("ehlo.name-rejected", (Stage.EHLO,), codes=(501, 504, 550)),
    # the upgrade
    Rule("starttls.not-offered", (Stage.STARTTLS,), Kind.NOT_OFFERED),
    Rule("starttls.injection", kind=Kind.INJECTION),
    Rule("starttls.refused", (Stage.STARTTLS,)),
    Rule("starttls.required", kind=Kind.UNPROTECTED),
    Rule("starttls.required", codes=(530, 538), phrase=r"starttls|encrypt|secure connection"),
    Rule("starttls.required", codes=(538,)),
    # logging in
    Rule("auth.not-offered", (Stage.AUTH,), Kind.NOT_OFFERED),
    Rule("auth.oauth2-required", kind=Kind.NO_COMMON_MECHANISM, only_offered=("XOAUTH2", "OAUTHBEARER")),
    Rule("auth.no-common-mechanism", kind=Kind.NO_COMMON_MECHANISM),
    Rule("auth.no-common-mechanism", (Stage.AUTH,), codes=(504,)),
    Rule(
        "auth.no-common-mechanism",
        (Stage.AUTH,),
        codes=(5,),
        phrase=r"too weak|mechanism.* (not|un)(supported|available|recogni[sz]ed)?|unrecogni[sz]ed auth",
    ),
    Rule(
        "auth.not-offered",
        (Stage.AUTH,),
        codes=(500, 502, 503),
        phrase=r"not (enabled|available|supported|implemented|recogni[sz]ed|allowed)|un(known|recogni[sz]ed)",
    ),
    Rule("auth.app-password-required", (Stage.AUTH,), codes=(534,), enhanced=r"5\.7\.9"),
    Rule("auth.app-password-required", (Stage.AUTH,), codes=(5,), phrase=r"app(lication)?[- ](specific )?password|authori[sz]ation code|#AUTH005"),
    Rule("auth.sign-in-blocked", (Stage.AUTH,), codes=(534,)),
    Rule("auth.sign-in-blocked", (Stage.AUTH,), codes=(5,), phrase=r"web browser|did not meet the criteria|suspicious|conditional access"),
    Rule(
        "auth.disabled-by-admin",
        (Stage.AUTH,),
        codes=(5,),
        phrase=r"smtpclientauthentication is disabled|security defaults|disabled by (your )?admin",
    ),
    Rule("auth.oauth2-required", (Stage.AUTH,), codes=(5,), phrase=r"basic authentication is (disabled|not supported)"),
    Rule("auth.oauth2-required", codes=(550,), enhanced=r"5\.7\.30"),
    Rule("auth.too-many-attempts", (Stage.AUTH,), phrase=r"too many|many times|rate limit|try again later"),
    Rule("limit.quota", (Stage.AUTH,), phrase=r"credits|quota"),
    Rule("limit.account-blocked", (Stage.AUTH,), codes=(5,), phrase=r"suspend|account (is )?(locked|disabled|blocked)|activate your"),
    Rule("limit.account-blocked", (Stage.AUTH,), codes=(525,)),  # RFC 5248: user account disabled
    Rule("auth.temporary", (Stage.AUTH,), codes=(4,)),
    Rule("auth.bad-credentials", (Stage.AUTH,), codes=(535, 550, 554)),
    Rule("auth.required", (Stage.AUTH,), codes=(530,)),
    # a recipient's own trouble by its enhanced code (RFC 3463), before phrases that other troubles share
    Rule("mail.sender-not-allowed", (Stage.RCPT,), codes=(5,), phrase=r"sender address rejected|not owned"),
    Rule("rcpt.unknown", (Stage.RCPT,), codes=(5,), enhanced=r"5\.1\.(0|1|2|3|6|10)|5\.2\.1"),
    Rule("server.temporary", (Stage.RCPT,), codes=(4,), enhanced=r"4\.3\.1"),  # the server's own disk is full, not the recipient's mailbox
    Rule("rcpt.mailbox-full", (Stage.RCPT, Stage.DATA), enhanced=r"[45]\.2\.2"),
    Rule("rcpt.mailbox-full", (Stage.RCPT,), phrase=_MAILBOX_FULL),
    Rule("server.client-blocked", (Stage.RCPT, Stage.MAIL), phrase=_BLOCKLIST),
    Rule("rcpt.greylisted", (Stage.RCPT,), codes=(4,), phrase=r"gr[ea]y ?-?list"),
    # the mail itself
    Rule("auth.required", _MAIL_ON, codes=(530,)),
    Rule(
        "auth.required",
        _MAIL_ON,
        codes=(5,),
        phrase=r"authentication (is )?required|not authenticated|turn on smtp auth|unauthenticated senders|must authenticate",
    ),
    Rule("limit.account-blocked", _MAIL_ON, codes=(5,), phrase=r"suspend|account (is )?(locked|disabled|blocked)|unusual sending"),
    Rule("limit.quota", _MAIL_ON, enhanced=r"5\.4\.5"),
    Rule("data.too-large", _MAIL_ON, enhanced=r"5\.3\.4"),
    Rule("data.too-large", _MAIL_ON, codes=(5,), phrase=r"message size|size limit"),
    Rule("limit.quota", _MAIL_ON, phrase=r"quota|(daily|sending|hourly|message) limit|limit exceeded|credits"),
    Rule("data.too-large", kind=Kind.TOO_LARGE),
    Rule("data.too-large", _MAIL_ON, codes=(552, 523), enhanced=r"5\.3\.4|5\.2\.3|"),
    Rule("data.too-large", _MAIL_ON, codes=(5,), phrase=r"(size|too (large|big)).*(limit|maximum|exceed|message)|message (is )?too (large|big)"),
    Rule("rcpt.too-many", (Stage.RCPT,), enhanced=r"[45]\.5\.3"),
    Rule("rcpt.too-many", (Stage.RCPT,), phrase=r"too many recipients"),
    Rule("limit.rate", _MAIL_ON, codes=(4,), phrase=_TOO_MANY),
    Rule(
        "mail.sender-unverified",
        _MAIL_ON,
        codes=(5,),
        phrase=r"not (been )?verified|unverified|verify (your|the) (domain|sender)|unconfigured sending domain",
    ),
    Rule("data.unauthenticated-domain", _MAIL_ON, codes=(5,), phrase=r"\b(spf|dkim|dmarc)\b"),
    Rule("data.unauthenticated-domain", _MAIL_ON, enhanced=r"5\.7\.(2[0-9]|509|515)"),
    Rule("mail.smtputf8-unsupported", kind=Kind.SMTPUTF8_NOT_OFFERED),
    Rule("mail.smtputf8-unsupported", _MAIL_ON, enhanced=r"5\.6\.7"),
    # recipients
    Rule("rcpt.relay-denied", (Stage.RCPT,), codes=(5,), phrase=r"relay"),
    Rule("mail.sender-not-allowed", _MAIL_ON, codes=(5,), phrase=_SENDER),
    Rule("mail.sender-not-allowed", _MAIL_ON, enhanced=r"5\.7\.60|5\.1\.7|5\.1\.8"),
    Rule("data.content-rejected", (Stage.DATA,), codes=(5,), phrase=r"\bspam\b|content|virus|attachment|phish"),
    Rule("server.client-blocked", _MAIL_ON, codes=(5,), phrase=_BLOCKLIST),
    Rule("rcpt.greylisted", (Stage.RCPT,), codes=(450, 451), enhanced=r"4\.7\.1"),
    Rule("rcpt.unknown", (Stage.RCPT,), codes=(550, 551, 553)),
    # the message
    Rule("data.line-too-long", kind=Kind.LINE_TOO_LONG),
    Rule("data.line-too-long", (Stage.DATA,), codes=(5,), phrase=r"line (is )?too long"),
    Rule("data.content-rejected", (Stage.DATA,), codes=(550, 552, 554)),
    Rule("data.lost-before-reply", (Stage.DATA,), Kind.CLOSED, detail="after the final dot"),
    # whatever the stage
    Rule("limit.rate", codes=(421,), phrase=_TOO_MANY),
    Rule("server.shutting-down", codes=(421,)),
    Rule("server.temporary", codes=(4,)),
    Rule("server.refused", codes=(5,)),
    Rule("server.protocol-error"),
    Rule("server.protocol-error", kind=Kind.PROTOCOL_ERROR),
    Rule("connection.lost", kind=Kind.CLOSED),
    Rule("connection.lost", kind=Kind.TIMEOUT),
)
