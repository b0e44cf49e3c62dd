"""The rules that map a failure to an error code: the first that fits decides.

Rules rely on stage, kind and codes. Phrases decide only what these leave open; they are words that several
servers use. The refusals in a provider's row are tried before these rules (`diagnose.error_code`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from smtpsetup.core.failure import Failure, Kind
from smtpsetup.core.model import Stage


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule fits a failure if every condition that is set is met.

    `codes` are reply codes or their first digits. `enhanced` and `phrase` are patterns for the enhanced status code and
    the text. `is_unknown` requires that the message may have been accepted. With `only_offered`, the server must
    offer no SASL mechanisms but these.
    """

    error: str
    stages: tuple[Stage, ...] = ()
    kind: Kind = Kind.REPLY
    codes: tuple[int, ...] = ()
    enhanced: str = ""
    phrase: str = ""
    is_unknown: bool = False
    ports: tuple[int, ...] = ()
    only_offered: tuple[str, ...] = ()

    def fits(self, failure: Failure) -> bool:
        """Whether this rule applies to a failure."""
        if (
            self.kind is not failure.kind
            or (self.stages and failure.stage not in self.stages)
            or self.is_unknown > failure.is_unknown
        ):
            return False
        if (self.ports and failure.server.port not in self.ports) or (
            self.only_offered and not set(failure.offered) <= set(self.only_offered)
        ):
            return False
        reply = failure.reply
        if reply is None:
            return not (self.codes or self.enhanced or self.phrase)
        if self.codes and not any(str(reply.code).startswith(str(code)) for code in self.codes):
            return False
        if self.enhanced and not re.fullmatch(self.enhanced, reply.enhanced):
            return False
        return not self.phrase or re.search(self.phrase, _searchable(reply.text), re.IGNORECASE) is not None


def _searchable(text: str) -> str:
    """The text on one line, without names, mail addresses and URLs, which may contain any word."""
    line = " ".join(text[:_MAX_SEARCHED].split())
    return " ".join(re.sub(r"<[^<>\s]*>|https?://\S+|\S+@\S+|\[[^\]\s]*\]|^[\w-]+(\.[\w-]+)+", "", line).split())


_MAX_SEARCHED = 2000  # characters of a reply: patterns on a longer text would take too long
_SENDER_REFUSED = (
    r"sender|from address|from header|send as|sendas|not owned|relay(ing)? .*\bas\b|mail from "
    r".*must|auth(ori[sz]ed|enticated)? .*send from"
    r"|send from this|not allowed to send|permissions? to send|header from|from:? address|not authori[sz]ed to perform"
)
_TRANSACTION = (Stage.MAIL, Stage.RCPT, Stage.DATA)
_BLOCKLIST = (
    r"blocked using|block ?list|black ?list|spamhaus|barracuda|listed (at|by|in|on)|\b(ip|ip "
    r"address|client|host)\b.*(blocked|not allowed)"
    r"|(your|from this) ip\b.*not|banned sending ip|(poor|bad) reputation|\brbl\b|dnsbl|reverse (dns|hostname)"
    r"|\bptr\b|cannot find your hostname|blocked - see|the ip you"
)
_TOO_MANY = (
    r"too (many|much)|\brate ?limit|\brate\b|too (fast|frequent)|throttl|concurrent|slow down|frequency limit"
    r"|(emails|messages|mails|failures) per hour|flood"
)
_MAILBOX_FULL = r"(mailbox|account|inbox|user)\b.*\b(full|over|exceeds?)\b.*|over ?quota|storage"
_UNKNOWN_RECIPIENT = (
    r"(no such|unknown|invalid) (user|recipient|mailbox|rcpt)|(user|recipient|mailbox|rcpt)\b.{0,40}(unknown"
    r"|not found|n.t (exist|have)|not exist|disabled|null mx)"
    r"|no mailbox|malformed address|not accept mail"
)
_TLS_REQUIRED = r"starttls|encrypt|secure connection|\b(ssl|tls)\b.*(required|needed)|non-secure"
_LOGIN_REQUIRED = (
    r"(auth\w*|login) (is )?(required|needed)|requires? auth|not authenticated|not logged in|unauthenticated "
    r"senders|turn on smtp auth"
    r"|(must|please|need to) (be )?(authenticate|log ?in|check for new mail)"
)
_BLOCKED = (
    r"\bsuspen(ded|sion)\b|account (is |has been |was )?(temporarily )?(locked|disabled|blocked|frozen|suspended)"
    r"|not (yet )?activated|activate your|unusual sending|outgoing (mail |email )?(blocked|disabled)"
    r"|outbound sender"
)

RULES: tuple[Rule, ...] = (
    # DNS and TCP
    Rule("dns.not-found", kind=Kind.NAME_NOT_FOUND),
    Rule("dns.temporary", kind=Kind.NAME_TEMPORARY),
    Rule("dns.temporary", (Stage.DNS,), Kind.TIMEOUT),
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
    Rule("limit.rate", (Stage.GREETING, Stage.EHLO, Stage.STARTTLS), phrase=_TOO_MANY),
    Rule("server.client-blocked", (Stage.GREETING, Stage.EHLO, Stage.STARTTLS), phrase=_BLOCKLIST),
    Rule("server.temporary", (Stage.GREETING,), codes=(4,)),
    Rule("greeting.rejected", (Stage.GREETING,)),
    # the EHLO name; servers may delay this refusal until RCPT
    Rule(
        "ehlo.name-rejected",
        (Stage.EHLO, *_TRANSACTION),
        phrase=r"\b(helo|ehlo)\b.*(reject|invalid|need|denied|fully)|invalid (helo|ehlo)|\((helo|ehlo)\)",
    ),
    Rule("ehlo.name-rejected", (Stage.EHLO,), codes=(501, 504, 550)),
    # STARTTLS
    Rule("starttls.not-offered", (Stage.STARTTLS,), Kind.NOT_OFFERED),
    Rule("starttls.injection", kind=Kind.INJECTION),
    Rule("server.shutting-down", (Stage.STARTTLS,), codes=(421,)),
    Rule("starttls.refused", (Stage.STARTTLS,)),
    Rule("starttls.required", kind=Kind.UNPROTECTED),
    Rule("starttls.required", enhanced=r"5\.7\.1[01]"),
    Rule("starttls.required", (Stage.EHLO, Stage.AUTH, Stage.MAIL, Stage.RCPT), codes=(5,), phrase=_TLS_REQUIRED),
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
        phrase=(
            r"too weak|(mechanism|method|auth type).* (not |un)(supported|available|recogni[sz]ed|implemented)"
            r"|(invalid|no|unsupported|unrecogni[sz]ed) (auth\w* )?(mechanism|method|type)"
        ),
    ),
    Rule(
        "auth.not-offered",
        (Stage.AUTH,),
        codes=(500, 502, 503),
        phrase=r"not (enabled|available|supported|implemented|recogni[sz]ed|allowed|advertised)"
        r"|un(known|recogni[sz]ed|implemented|supported)",
    ),
    Rule(
        "auth.sign-in-blocked",
        (Stage.AUTH,),
        codes=(5,),
        phrase=(
            r"web browser|did not meet the criteria|suspicious|conditional access|sign-?in blocked"
            r"|(country|ip address|location)\b.*not allowed|not allowed from (this|your)"
        ),
    ),
    Rule("auth.app-password-required", (Stage.AUTH,), codes=(534,), enhanced=r"5\.7\.9"),
    Rule(
        "auth.app-password-required",
        (Stage.AUTH,),
        codes=(5,),
        phrase=r"app(lication)?[- ](specific )?password|authori[sz]ation code|#AUTH005",
    ),
    Rule("auth.sign-in-blocked", (Stage.AUTH,), codes=(534,)),
    Rule("auth.oauth2-required", (Stage.AUTH,), codes=(5,), phrase=r"basic authentication is (disabled|not supported)"),
    Rule(
        "auth.disabled-by-admin",
        (Stage.AUTH,),
        codes=(5,),
        phrase=(
            r"security defaults|disabled by (your )?admin|no permission|access rights"
            r"|(smtp|access|service)\w*\b.*(disabled|not enabled|switched off)"
        ),
    ),
    Rule("auth.oauth2-required", codes=(550,), enhanced=r"5\.7\.30"),
    Rule("auth.too-many-attempts", (Stage.AUTH,), phrase=r"too many|many times|rate limit|(failed|login) .*attempts"),
    Rule("server.client-blocked", (Stage.AUTH,), codes=(5,), phrase=_BLOCKLIST),
    Rule("limit.quota", (Stage.AUTH,), phrase=r"credits|quota"),
    Rule("limit.account-blocked", (Stage.AUTH,), codes=(5,), enhanced=r"5\.2\.1|5\.7\.13"),
    Rule("limit.account-blocked", (Stage.AUTH,), codes=(5,), phrase=_BLOCKED),
    Rule("limit.account-blocked", (Stage.AUTH,), codes=(525,)),  # RFC 5248: user account disabled
    Rule("auth.temporary", (Stage.AUTH,), codes=(4,)),
    # 334: an error challenge for a token, after which the server closed the connection
    Rule("auth.bad-credentials", (Stage.AUTH,), codes=(334, 526, 535, 550, 554)),
    Rule("auth.required", (Stage.AUTH,), codes=(530,)),
    # what codes and the order of commands decide, before phrases that several errors share
    Rule("server.client-blocked", _TRANSACTION, enhanced=r"[45]\.7\.25|5\.7\.(511|6(0[6-9]|[1-4]\d)|708)"),
    Rule("limit.rate", _TRANSACTION, enhanced=r"[45]\.7\.28"),
    Rule("mail.sender-not-allowed", _TRANSACTION, enhanced=r"5\.7\.27"),
    Rule("server.refused", _TRANSACTION, codes=(5,), enhanced=r"5\.7\.(12[49]|13[0-9])"),
    Rule("auth.required", _TRANSACTION, codes=(530,)),
    Rule("auth.required", _TRANSACTION, codes=(5,), phrase=_LOGIN_REQUIRED),
    Rule("auth.required", (Stage.MAIL,), codes=(5,), phrase=r"authori[sz]ation required"),
    Rule("server.refused", _TRANSACTION, codes=(503,)),
    Rule("limit.account-blocked", _TRANSACTION, codes=(5,), enhanced=r"|5\.[0347]\.\d+|5\.1\.8", phrase=_BLOCKED),
    Rule("data.unauthenticated-domain", _TRANSACTION, enhanced=r"5\.7\.(2[0-46]|29|509|515)"),
    Rule("rcpt.relay-denied", _TRANSACTION, enhanced=r"5\.7\.(54|64)"),
    Rule("mail.smtputf8-unsupported", _TRANSACTION, enhanced=r"5\.6\.7"),
    Rule("mail.smtputf8-unsupported", _TRANSACTION, codes=(5,), phrase=r"smtputf8"),
    Rule(
        "rcpt.relay-denied",
        (Stage.RCPT,),
        codes=(513, 550, 551, 553, 554, 571),
        enhanced=r"5\.1\.[12]",
        phrase=r"^relay",
    ),
    Rule("limit.rate", (Stage.RCPT,), enhanced=r"[45]\.2\.1", phrase=r"\brate\b"),
    Rule("data.unauthenticated-domain", (Stage.RCPT,), codes=(5,), phrase=r"\b(spf|dkim|dmarc)\b.*(fail|reject)"),
    Rule("limit.quota", (Stage.RCPT,), codes=(5,), phrase=r"sender address rejected: .*(quota|limit)"),
    Rule(
        "mail.sender-not-allowed",
        (Stage.RCPT,),
        codes=(5,),
        phrase=r"sender (address rejected|verif\w+ failed)|not owned",
    ),
    Rule("rcpt.unknown", (Stage.RCPT, Stage.DATA), enhanced=r"[45]\.1\.2|5\.1\.(1|3|6|10)|5\.2\.1"),
    Rule("rcpt.unknown", (Stage.RCPT,), enhanced=r"5\.1\.0"),
    Rule("server.temporary", (Stage.RCPT,), codes=(4,), enhanced=r"4\.3\.\d"),
    Rule("server.temporary", (Stage.RCPT,), codes=(4,), phrase=r"system storage"),
    Rule("rcpt.mailbox-full", (Stage.RCPT, Stage.DATA), enhanced=r"[45]\.2\.2"),
    Rule("rcpt.mailbox-full", (Stage.RCPT,), phrase=_MAILBOX_FULL),
    Rule("rcpt.mailbox-full", (Stage.DATA,), phrase=r"mailbox (is )?full"),
    Rule("rcpt.too-many", (Stage.RCPT, Stage.DATA), enhanced=r"[45]\.5\.3"),
    Rule("limit.quota", _TRANSACTION, enhanced=r"5\.4\.5"),
    Rule("server.client-blocked", (Stage.RCPT, Stage.MAIL), phrase=_BLOCKLIST),
    Rule("rcpt.greylisted", (Stage.RCPT, Stage.DATA), codes=(4,), phrase=r"gr[ea]y ?-?list"),
    Rule(
        "rcpt.too-many",
        (Stage.RCPT, Stage.DATA),
        phrase=r"too (many|much) recipient|recipients? (count|limit)|number of recipients",
    ),
    # the mail itself
    Rule("data.too-large", _TRANSACTION, enhanced=r"5\.3\.4"),
    Rule(
        "data.too-large",
        _TRANSACTION,
        codes=(5,),
        phrase=r"message size|size limit|max\w* size|length .*exceeds|(mail|message)\b.* too (large|big|long)",
    ),
    Rule("limit.quota", _TRANSACTION, phrase=r"(daily|hourly|sending) (limit|quota)"),
    Rule("limit.rate", _TRANSACTION, phrase=r"\brate ?limit|frequency limit"),
    Rule(
        "limit.quota",
        _TRANSACTION,
        phrase=r"\bquota\b|(daily|sending|hourly|message) limit|limit exceeded|credits|exceeded limits|per day|daily "
        r".*exceeded",
    ),
    Rule("data.too-large", kind=Kind.TOO_LARGE),
    Rule("data.content-rejected", (Stage.DATA,), codes=(552,), phrase=r"\bspam\b|virus|attachment"),
    Rule("data.too-large", _TRANSACTION, codes=(552, 523), enhanced=r"5\.3\.4|5\.2\.3|"),
    Rule("limit.rate", (Stage.MAIL, Stage.RCPT), phrase=_TOO_MANY),
    Rule("limit.rate", (Stage.DATA,), codes=(4,), phrase=_TOO_MANY),
    Rule(
        "limit.rate",
        (Stage.DATA,),
        codes=(5,),
        phrase=r"(emails|messages|mails) per hour|too many (messages|mails|emails)",
    ),
    Rule(
        "mail.sender-unverified",
        _TRANSACTION,
        codes=(5,),
        phrase=r"not (been )?verified|unverified|verify (your|the) (domain|sender)|unconfigured sending domain",
    ),
    Rule("data.unauthenticated-domain", _TRANSACTION, codes=(5,), phrase=r"\b(spf|dkim|dmarc)\b(?!.{0,12}pass)"),
    Rule("mail.smtputf8-unsupported", kind=Kind.SMTPUTF8_NOT_OFFERED),
    # recipients
    Rule("rcpt.unknown", (Stage.RCPT, Stage.DATA), codes=(5,), phrase=_UNKNOWN_RECIPIENT),
    Rule("rcpt.relay-denied", (Stage.RCPT,), phrase=r"\brelay|rcpthosts|delivery is not allowed|local user only"),
    Rule("rcpt.relay-denied", (Stage.MAIL,), phrase=r"relay denied"),
    Rule("data.content-rejected", (Stage.DATA,), codes=(5,), phrase=r"(rejected|refused|blocked|classified) .*\bspam"),
    Rule("mail.sender-not-allowed", _TRANSACTION, codes=(5,), phrase=_SENDER_REFUSED),
    Rule("mail.sender-not-allowed", _TRANSACTION, enhanced=r"5\.7\.60|5\.1\.[78]"),
    Rule("server.client-blocked", (Stage.DATA,), codes=(5,), phrase=r"ip address has been blocked"),
    Rule("data.content-rejected", (Stage.DATA,), codes=(5,), phrase=r"spam|content|virus|attachment|phish"),
    Rule("server.client-blocked", _TRANSACTION, codes=(5,), phrase=_BLOCKLIST),
    Rule("rcpt.greylisted", (Stage.RCPT,), codes=(450, 451), enhanced=r"4\.7\.1"),
    Rule("rcpt.unknown", (Stage.RCPT,), codes=(501, 511, 550, 551, 553, 556, 559)),
    Rule("mail.sender-not-allowed", (Stage.MAIL,), codes=(553,)),
    Rule("mail.sender-not-allowed", (Stage.MAIL,), codes=(5,), enhanced=r"5\.1\.\d+"),
    # the message
    Rule("data.line-too-long", kind=Kind.LINE_TOO_LONG),
    Rule("data.line-too-long", (Stage.DATA,), codes=(5,), phrase=r"lines? (is |are )?(too long|longer)|line length"),
    Rule("server.refused", (Stage.DATA,), codes=(5,), enhanced=r"5\.[345]\.\d+"),
    Rule("data.content-rejected", (Stage.DATA,), codes=(550, 552, 554)),
    Rule("data.lost-before-reply", (Stage.DATA,), Kind.CLOSED, is_unknown=True),
    # at any stage
    Rule("limit.rate", codes=(421,), phrase=_TOO_MANY),
    Rule("server.shutting-down", codes=(421,)),
    Rule("server.temporary", codes=(4,)),
    Rule("server.refused", codes=(5,)),
    Rule("server.protocol-error"),
    Rule("server.protocol-error", kind=Kind.PROTOCOL_ERROR),
    Rule("connection.lost", kind=Kind.CLOSED),
    Rule("connection.lost", kind=Kind.TIMEOUT),
)
