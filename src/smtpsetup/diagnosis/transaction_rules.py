"""Rules for MAIL, RCPT, DATA and the message: what is said of the session, the account and its limits.

Those for the recipient and the content are in `mail_rules.py`; they come after these.
"""

from __future__ import annotations

from smtpsetup.core.failure import Kind
from smtpsetup.core.model import Stage
from smtpsetup.diagnosis import advice
from smtpsetup.diagnosis.phrases import ACCOUNT_OFF, NOT_ACTIVE, NOT_PAID, PLAN_USED_UP, SPAMMER, TOO_MANY
from smtpsetup.diagnosis.rule import TRANSACTION, Rule, words

_LOGIN_REQUIRED = words(
    r"(auth\w*|login) (is )?(required|needed|requise)|requires? auth|not authenticated",
    r"not logged in|turn on smtp auth",
    r"unauthenticated (senders|mail|users|clients)",
    r"(must|please|need to) (be )?(authenticate(?! (your|the|this|a)\b)|log ?in|check for new mail)",
)
# the same words are said of the recipient's account
_NOT_THE_RECIPIENT = r"^(?!.*\b(recipient|mailbox|destinataire|discontinued|tried to reach|delivered)\b).*"
# a mailbox or a user may be the sender's, unless the recipient is named
_NOT_THE_SENDER = (
    r"^((?=.*\brecipient)|(?!.*(\b(sending|outgoing|outbound|submission|daily|hourly|monthly)\b"
    r"|\bsender('s)? (account|mailbox|quota)|\byour (account|mailbox|quota|user|limit)"
    r"|\byou ((may|can|must) ?not|have (sent|reached|exceeded))))).*"
)
# an invoice may be the name of a file or of a recipient
_OWN_ACCOUNT = (
    r"^(?!.*(spam|virus|trojan|banned|attachment|unknown))"
    r"(?=.*\b(account|subscription|plan|service|licen[cs]e|your)\b).*"
)
_QUOTA = words(
    r"\bquota\b|quotaexceeded|submission ?quota|credits|exceeded limits|\b(per day|this month)\b",
    r"\b(daily|today|monthly)\b.{0,40}(limit|exceed|reached|maximum|max\b|used|allow|volume|message)",
    r"(limit|exceed\w*|reached|maximum|max|used|sent|messages|recipients)\b.{0,40}\b(daily|today|monthly)\b",
    r"\b(daily|weekly|sending|hourly|message|messages|e?mail|e-mail|relay|relaying|send|outgoing) limit",
    r"(?<!depth )(?<!nesting )(?<!header )(?<!attachment )(?<!url )(?<!part )"
    r"limit (is |was |has been )?(exceeded|reached)",
    r"(past|last|within|in|per) \d+ ?h(ours)?\b|(maximum|max) number of (e-?mails|messages)",
)
_MAILBOX_FULL = words(
    r"\b(mailbox|inbox|account|destinataire|postfach|maildir|in-?box)\b.{0,40}\b(full|pleine|voll)\b",
    r"mailbox full|full mailbox",
    r"\b(mailbox|inbox|user|recipient|account|maildir)\b.{0,40}(over|exceed\w*|reached) (\w+ ){0,2}"
    r"(quota|storage|disk)",
    r"\b(mailbox|recipient|recipient.s|user.s) (disk |storage )?quota|over ?quota|over the quota",
    r"dis[ck] quota|mailbox size limit|space has been used|out of storage",
)

TRANSACTION_RULES: tuple[Rule, ...] = (
    Rule("server.client-blocked", TRANSACTION, enhanced=r"[45]\.7\.25|5\.7\.(511|6(0[6-9]|[1-4]\d))"),
    # Microsoft's numbers for senders and organisations that it does not trust
    Rule(
        "limit.account-blocked",
        TRANSACTION,
        enhanced=r"5\.7\.(50[1-3]|7[0-4]\d)",
        advice=advice.TAKEN_FOR_SPAMMER,
    ),
    Rule("limit.rate", TRANSACTION, enhanced=r"[45]\.7\.28"),
    Rule("limit.rate", TRANSACTION, enhanced=r"5\.2\.12[12]", advice=advice.RECIPIENT_RATE),
    Rule("limit.quota", TRANSACTION, enhanced=r"5\.1\.90|5\.7\.23[23]"),
    Rule("mail.sender-not-allowed", TRANSACTION, enhanced=r"5\.7\.27", phrase=r"\bmx\b"),
    Rule("data.unauthenticated-domain", TRANSACTION, enhanced=r"5\.7\.(2[0-46]|27|29|509|515)"),
    Rule(
        "data.unauthenticated-domain",
        TRANSACTION,
        enhanced=r"[45]\.7\.\d+",
        phrase=r"rate limited because.*(dkim|spf|aligned)",
    ),
    Rule("mail.smtputf8-unsupported", TRANSACTION, enhanced=r"5\.6\.7"),
    Rule("mail.smtputf8-unsupported", TRANSACTION, codes=(5,), phrase=r"smtputf8"),
    Rule("mail.smtputf8-unsupported", kind=Kind.SMTPUTF8_NOT_OFFERED),
    # a group or a list of senders of the recipient's (Exchange)
    Rule(
        "server.refused",
        TRANSACTION,
        codes=(5,),
        enhanced=r"5\.7\.(12[49]|13[0-9]|50[78])",
        advice=advice.RECIPIENT_REFUSES,
    ),
    # the login
    Rule("mail.sender-not-allowed", (Stage.DATA,), codes=(530,), phrase=r"from|sender"),
    Rule("auth.required", TRANSACTION, codes=(530,)),
    Rule("auth.required", TRANSACTION, codes=(5,), phrase=_LOGIN_REQUIRED),
    Rule("server.refused", TRANSACTION, codes=(503,)),
    # what passes by itself, whatever else it names
    Rule(
        "server.temporary",
        TRANSACTION,
        codes=(4,),
        phrase=r"(unable to|(could|can) ?not) verify|servfail|verif\w+ failed\b.{0,10}(time|try)",
    ),
    # the account
    Rule("limit.account-blocked", TRANSACTION, phrase=SPAMMER, advice=advice.TAKEN_FOR_SPAMMER),
    Rule(
        "limit.account-blocked",
        TRANSACTION,
        enhanced=r"|[45]\.[02-7]\.\d+",
        phrase=f"{_NOT_THE_RECIPIENT}({NOT_ACTIVE})",
        advice=advice.NOT_ACTIVATED,
    ),
    Rule("limit.account-blocked", (Stage.MAIL,), phrase=NOT_PAID, advice=advice.UNPAID),
    Rule(
        "limit.account-blocked",
        (Stage.RCPT, Stage.DATA),
        enhanced=r"|[45]\.[02-7]\.\d+",
        phrase=f"{_OWN_ACCOUNT}({NOT_PAID})",
        advice=advice.UNPAID,
    ),
    Rule("limit.account-blocked", (Stage.MAIL,), codes=(5,), phrase=ACCOUNT_OFF, advice=advice.ACCOUNT_DISABLED),
    Rule(
        "limit.account-blocked",
        (Stage.RCPT, Stage.DATA),
        codes=(5,),
        enhanced=r"|5\.[0347]\.\d+|5\.1\.8",
        phrase=f"{_NOT_THE_RECIPIENT}({ACCOUNT_OFF})",
        advice=advice.ACCOUNT_DISABLED,
    ),
    Rule("limit.account-blocked", TRANSACTION, codes=(525,), advice=advice.ACCOUNT_DISABLED),
    # a mail that goes round
    Rule("server.refused", TRANSACTION, codes=(5,), phrase=r"too many (hops|received)|hop count|\bloop"),
    # size and form
    Rule("data.line-too-long", kind=Kind.LINE_TOO_LONG),
    Rule("data.line-too-long", (Stage.DATA,), codes=(5,), phrase=r"lines? (is |are )?(too long|longer)|line length"),
    Rule("data.too-large", kind=Kind.TOO_LARGE),
    Rule("data.too-large", TRANSACTION, enhanced=r"5\.3\.4"),
    Rule(
        "data.too-large",
        TRANSACTION,
        codes=(5,),
        phrase=words(
            r"message (header )?size|(?<!mailbox )size limit|max\w* size|mailsize|message length|more than \d+ bytes",
            r"(mail|message|stream|body|e-?mail)\b.* too (large|big|long)",
        ),
    ),
    # limits: the recipient's mailbox, then numbers of recipients, then rates, then what is used up
    Rule("rcpt.greylisted", (Stage.RCPT, Stage.DATA), phrase=r"gr[ea]y ?-?list"),
    Rule(
        "rcpt.mailbox-full",
        (Stage.RCPT, Stage.DATA),
        phrase=f"{_NOT_THE_SENDER}({_MAILBOX_FULL})",
    ),
    Rule("rcpt.mailbox-full", (Stage.RCPT, Stage.DATA), enhanced=r"[45]\.2\.2", phrase=_NOT_THE_SENDER),
    Rule("limit.quota", TRANSACTION, enhanced=r"[45]\.2\.2"),
    Rule(
        "server.temporary",
        TRANSACTION,
        codes=(4,),
        phrase=r"system storage|(space|resources|memory)\b|queue|\bdns\b|look ?up",
    ),
    Rule("rcpt.mailbox-full", (Stage.RCPT,), phrase=r"storage"),
    Rule(
        "rcpt.too-many",
        (Stage.RCPT, Stage.DATA),
        phrase=words(
            r"too (many|much) recipients?(?!.{0,20}(hour|day))|number of recipients (?!.{0,20}(hour|day))",
            r"recipients? (count|limit)\b(?!.{0,20}(hour|day|today|reached))|max\w* of \d+ recipients",
        ),
    ),
    Rule(
        "limit.rate",
        TRANSACTION,
        phrase=words(
            r"receiving mail (at a rate|too)|(messages|mail) to this recipient|excessive volume|recent messages",
            r"recipient rate|recipient.{0,30}too many messages",
        ),
        advice=advice.RECIPIENT_RATE,
    ),
    Rule("limit.rate", TRANSACTION, codes=(432,)),
    Rule(
        "limit.rate",
        TRANSACTION,
        phrase=words(
            r"per second|\brate[ -]?(over)?limit|\bratelimit|concurrent|frequency limit|\bpeak\b",
            r"messages? rate|sending rate",
            r"(e-?mails?|messages?|mails?|failures|recipients) (per|this|an|each) (minute|hour)\b",
        ),
    ),
    Rule("limit.quota", TRANSACTION, phrase=PLAN_USED_UP, advice=advice.PLAN),
    Rule("limit.quota", TRANSACTION, phrase=r"hourly|per hour|recipients/hr", advice=advice.HOUR),
    Rule("limit.quota", TRANSACTION, enhanced=r"5\.4\.5"),
    Rule("limit.quota", TRANSACTION, phrase=_QUOTA),
    Rule("rcpt.too-many", (Stage.RCPT, Stage.DATA), enhanced=r"[45]\.5\.3", phrase=r"recipient"),
    Rule("limit.rate", (Stage.MAIL, Stage.RCPT), phrase=TOO_MANY),
    Rule("limit.rate", (Stage.DATA,), codes=(4,), phrase=TOO_MANY),
    Rule(
        "limit.rate",
        (Stage.DATA,),
        codes=(5,),
        phrase=r"too (many|much) (messages|e?mails?|connections|requests)|too (fast|frequent)|slow down|flood",
    ),
)
