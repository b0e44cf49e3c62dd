"""Rules for the sender, the recipient and the content of a mail; they come after those of `transaction_rules.py`.

Exit code 67 makes scripts delete addresses, so `rcpt.unknown` needs a reply that says it. What nothing explains is
`server.refused`.
"""

from __future__ import annotations

from smtpsetup.core.failure import Kind
from smtpsetup.core.model import Stage
from smtpsetup.diagnosis import advice
from smtpsetup.diagnosis.phrases import BLOCKLIST
from smtpsetup.diagnosis.rule import TRANSACTION, Rule, words

_RCPT_OR_DATA = (Stage.RCPT, Stage.DATA)

# what only a sender's address can be accused of, with a temporary code, too
_NOT_YOURS = words(
    r"not owned|(send|relay(ing)?)\b.{0,20} as\b|sendas|must (match|equal|be the same|be same)",
    r"(?<!helo )(?<!ehlo )(?<!name )(?<!signature )(?<!message-id )(?<!host )(does not|doesn.t) match",
    r"(?<!does )not match|belong to",
)
# the same said in words that, with a temporary code, may mean trouble with DNS
_SENDER_NOT_YOURS = words(
    _NOT_YOURS,
    r"not (allowed|authori[sz]ed|permitted) to (send|relay|perform)(?! to\b)"
    r"(?!.*\bto (the )?(destination|recipient|group|domain))",
    r"permissions? to send(?! to\b)",
    r"(unknown|invalid|unauthori[sz]ed|forbidden|disallowed) (sender|from)\b|emetteur|not local sender|not same as",
    r"(sender|from)\b.{0,30}\b(not (allowed|authori[sz]ed|permitted|accepted|valid)|is not (a|one) )",
)
_SENDER = r"sender|from address|from header|header from|from:? (address|name)|mail from .*(must|not exist)"
# scripts delete such addresses, so it must not be the sender or this machine that is unknown
_NOT_THE_SENDER = (
    r"^(?!.*(\b(sender|from|your|envelope|ip)\b.{0,15}\b(address|domain|e-?mail|account|host)\b"
    r"|mail from\b|return.?path|reply-to|message-id|\bheader)).*"
)
_UNKNOWN = words(
    r"\b(no such|unknown|invalid|inactive|non-?existent|unrouteable|undeliverable|bad) "
    r"(e-?mail )?(user|recipient|mailbox|rcpt\w*|address|destination|customer|domain|person|alias|local part)",
    r"\b(user|recipient|mailbox|rcpt|customer|alias|destinataire)\b.{0,60}(\bunknown\b|not (be )?found"
    r"|n.t (exist|have|valid)\b|not (exist|valid|active)|no longer (exist|valid|active|available)|null ?mx"
    r"|\b(inactive|disabled|bloque|closed|suspended|invalid)\b)",
    r"\b(address|e-?mail|domain|host)\b.{0,60}(\bunknown\b|not (be )?found|n.t exist|not exist|not a valid|null ?mx)",
    r"\brecipient('s)? (account|mailbox|address) (is |has been )?blocked",
    r"\bno longer (valid|exists|active|available|accepts(?! \w+ from))|not our customer|malformed address",
    r"(user|mailbox|account|address|recipient)\b.{0,60}discontinued|^does not exist",
    r"not accept (e-?)?mail(?! from)|unrouteable|dosn.t exist|^inactive",
    r"not a (known|local|valid) (user|mailbox|recipient)|\bno (mailbox|account|one) .{0,10}(here|at|by)\b",
    r"unbekannt|existiert nicht|inconnu|archived recipient|n.existe pas|no existe|desconocid|sconosciut|finns inte",
    r"不存在",
)
_UNKNOWN_ACCOUNT = words(
    r"\b(no such|unknown|invalid) account|\baccount\b.{0,40}(\bunknown\b|not (be )?found|n.t exist|not exist)"
)
_RELAY = r"\brelay|rcpthosts|delivery is not allowed|local user only"
_RECIPIENTS_POLICY = words(
    r"polic(y|ies)|administrative prohibition|rejected by (the )?recipient|customized",
    r"by (the )?recipient.s|recipient.s server",
    r"not (allowed|authori[sz]ed|permitted) to send( mail| e-?mail| messages?)? to",
    r"access to .{0,40}rejected|list of senders",
    r"(recipient|user|mailbox|they|group)\b.{0,40}(not accept|refuse[sd]?|reject(s|ed)?|only accepts?|does not want)\b",
)
_MALFORMED = words(
    r"\bbare\b|barelinefeed|rfc ?-?(5322|5321|2822|2046|2045|2047|822)|822\.bis|compliant",
    r"malformed|(duplicate|multiple) .{0,20}(header|subject|from)",
    r"header (error|syntax|is invalid|field)",
    r"(invalid|bad|illegal|broken) (header|mime|8.?bit|character)",
    r"mime (boundary|error|parse|structure|depth|nesting)|header (limit|line)|\b(attachment|url) limit",
    r"(invalid|bad|no such) (address|domain).{0,20}(reply-to|message-id|return.?path)",
    r"missing .{0,30}(header|from|date|message-id)|no (valid )?(from|date)|headers too",
)
_CONTENT = words(
    r"spam|\bspm\b|content|virus|malware|infected|attachment|phish|junk|unsolicited|suspicious",
    r"suspicion|banned|werbung",
    r"(forbidden|blocked|banned|illegal) file|file type|filter|polic(y|ies)",
    r"security (issue|polic)|\burl\b|\buribl\b|\bsurbl\b",
)

MAIL_RULES: tuple[Rule, ...] = (
    # the form
    Rule(
        "data.content-rejected",
        (Stage.DATA,),
        codes=(55,),
        phrase=_MALFORMED,
        advice=advice.MALFORMED,
    ),
    Rule("server.refused", (Stage.DATA,), codes=(50, 52), phrase=r"\bbare\b|smuggling", advice=advice.MALFORMED),
    # the sender
    Rule(
        "mail.sender-unverified",
        TRANSACTION,
        phrase=words(
            r"^(?!.*recipient).*not (been )?verified|unverified (sender|domain|from)|must be verified",
            r"unconfigured sending domain|unregistered domain|verified sender",
            r"(verify|authenticate|validate|confirm|register) (your|the|this|a) "
            r"(sending |sender |from )?(domain|sender|address)",
        ),
    ),
    Rule(
        "data.unauthenticated-domain",
        TRANSACTION,
        codes=(5,),
        phrase=r"\b(spf|dkim|dmarc)\b(?!\W+pass)|fail\w*\b.{0,40}\bauthentication checks?",
    ),
    Rule("mail.sender-not-allowed", TRANSACTION, enhanced=r"5\.7\.60|5\.1\.[78]"),
    Rule("rcpt.relay-denied", TRANSACTION, enhanced=r"5\.7\.(54|64)"),
    Rule("rcpt.relay-denied", (Stage.RCPT,), codes=(5,), phrase=r"^relay"),
    # a blocklist of domains
    Rule(
        "server.refused",
        TRANSACTION,
        codes=(5,),
        phrase=words(
            r"domain\b.{0,40}(listed|\bdbl\b|blocklist|blacklist|black ?listed)", r"reputation of the (sending )?domain"
        ),
        advice=advice.DOMAIN_LISTED,
    ),
    Rule("mail.sender-not-allowed", (Stage.MAIL, Stage.RCPT), phrase=r"sender (address rejected: not|verif\w+ failed)"),
    # the recipient
    Rule(
        "mail.sender-not-allowed", (Stage.RCPT,), codes=(5,), phrase=r"sender address rejected|not owned|^sender is not"
    ),
    Rule("rcpt.unknown", (Stage.RCPT,), enhanced=r"4\.1\.2"),
    Rule(
        "server.temporary",
        _RCPT_OR_DATA,
        codes=(5,),
        enhanced=r"5\.[12]\.\d+",
        phrase=r"temporar|try (again )?later|try again in\b",
    ),
    Rule("rcpt.unknown", _RCPT_OR_DATA, codes=(5,), enhanced=r"5\.1\.(1|2|3|6|10)|5\.2\.1|5\.7\.17"),
    # Microsoft's word for an address that the organisation does not have
    Rule("rcpt.unknown", (Stage.RCPT,), enhanced=r"5\.4\.1", phrase=r"access denied"),
    Rule(
        "server.refused",
        _RCPT_OR_DATA,
        codes=(5,),
        phrase=words(
            r"(block|black|reject|refus)\w* by (the )?(recipient|user)|recipient.s (block|black)",
            r"blocked senders\b|envelope blocked|manually (block|reject)",
        ),
        advice=advice.RECIPIENT_REFUSES,
    ),
    Rule("server.client-blocked", (Stage.MAIL, Stage.RCPT), phrase=BLOCKLIST),
    Rule(
        "server.client-blocked",
        (Stage.DATA,),
        codes=(5,),
        phrase=r"ip address.{0,20} blocked|reputation of the sending ip|the ip you",
    ),
    Rule("rcpt.unknown", _RCPT_OR_DATA, codes=(5,), phrase=f"{_NOT_THE_SENDER}({_UNKNOWN})"),
    Rule(
        "rcpt.unknown",
        (Stage.RCPT,),
        codes=(5,),
        phrase=f"{_NOT_THE_SENDER}({_UNKNOWN_ACCOUNT})",
    ),
    Rule("rcpt.relay-denied", (Stage.RCPT,), codes=(5,), phrase=_RELAY),
    Rule(
        "rcpt.relay-denied",
        TRANSACTION,
        phrase=r"relay(ing)? (access )?(denied|not (allowed|permitted))|open relay|(for|not) relay\b",
    ),
    # the content, unless the sender is named
    Rule("data.content-rejected", (Stage.DATA,), codes=(5,), phrase=r"(rejected|refused|blocked|classified) .*\bspam"),
    Rule("mail.sender-not-allowed", TRANSACTION, codes=(4,), phrase=_NOT_YOURS),
    Rule("mail.sender-not-allowed", TRANSACTION, codes=(5,), phrase=_SENDER_NOT_YOURS),
    Rule("mail.sender-not-allowed", TRANSACTION, codes=(5,), phrase=_SENDER),
    Rule("data.content-rejected", (Stage.DATA,), codes=(5,), phrase=_CONTENT),
    Rule("data.content-rejected", (Stage.DATA,), enhanced=r"5\.6\.\d+", advice=advice.MALFORMED),
    Rule("data.content-rejected", (Stage.RCPT,), codes=(5,), phrase=r"as spam"),
    Rule("server.client-blocked", TRANSACTION, codes=(5,), phrase=BLOCKLIST),
    Rule("rcpt.greylisted", (Stage.RCPT,), codes=(450, 451), enhanced=r"4\.7\.1"),
    Rule("server.refused", (Stage.RCPT,), codes=(5,), phrase=_RECIPIENTS_POLICY, advice=advice.RECIPIENT_REFUSES),
    Rule(
        "mail.sender-not-allowed",
        (Stage.MAIL,),
        codes=(5,),
        phrase=r"does not exist|n.t exist|not found|unknown (user|domain)",
    ),
    Rule("mail.sender-not-allowed", (Stage.MAIL,), codes=(553,)),
    Rule("mail.sender-not-allowed", (Stage.MAIL,), codes=(5,), enhanced=r"5\.1\.\d+"),
    # the message
    Rule("data.too-large", TRANSACTION, codes=(552, 523), enhanced=r"5\.2\.3|"),
    Rule("data.lost-before-reply", (Stage.DATA,), Kind.CLOSED, is_unknown=True),
)
