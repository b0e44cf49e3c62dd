"""Words that servers use at several stages."""

from __future__ import annotations

from smtpsetup.diagnosis.rule import words

TOO_MANY = words(
    r"too (many|much)(?! (hops|received|mime|parts|headers?)\b)|\brate[ -]?limit|\bratelimit",
    r"\brate\b|too (fast|frequent|quickly)|throttl|concurrent|slow down",
    r"frequency (limit|too)|flood",
    r"(e-?mails?|messages?|mails?|failures|recipients) (per|this|an|each) (second|minute|hour)\b",
    r"thread limit|\bpeak\b|(unexpected|excessive) volume|complaints",
)
BLOCKLIST = words(
    r"block(ed)? (using|by|for)\b|block ?list|black ?list|spamhaus|spamcop|barracuda|listed (at|by|in|on)",
    r"\b(ip|ip address|client|host)\b.*(blocked|not allowed)|(your|from this) ip\b.*not|banned sending ip",
    r"(poor|bad|low) reputation|reputation of (the|your) (sending )?ip|\brbl\b|_rbl\b|dnsbl",
    r"reverse (dns|hostname)|\bptr\b|\bip reputation|dynamic ip|dial-?up",
    r"cannot find your hostname|blocked - see|the ip you|permanently deferred",
)
# whose account it is stands in the rule's stage
ACCOUNT_OFF = words(
    r"\b(account|user|mailbox|alias|login|customer|subscription|tenant|organi[sz]ation|server|sender)\b.{0,60}"
    r"\b(frozen|locked|blocked|banned|deactivated|disabled|inactive|closed|terminated|restricted)\b",
    r"\b(frozen|locked|blocked|banned|deactivated|disabled|inactive|restricted) (account|user|mailbox|alias|sender)\b",
    r"\bsuspen(ded|sion)\b",
)
NOT_ACTIVE = words(
    r"not (yet )?(been )?(activated|approved|active\b)|(please|must|need to) activate|activate your",
    r"(pending|awaiting|waiting for|needs?) .{0,20}(approval|activation|review)|under review",
)
NOT_PAID = words(
    r"\bunpaid\b|\boverdue\b|\b(payment|billing|invoices?)\b(?!\S*@)|\bpaid plan",
    r"(subscription|trial|account|licen[cs]e) (has |is )?(expired|ended)",
)
SPAMMER = words(
    r"unusual sending|bad outbound sender|outbound sender|banned (outbound )?sender|spam abuse",
    r"outgoing (mail |e-?mail )?(is |has been )?(blocked|disabled|suspended)",
    r"(account|user|mailbox|sender)\b.{0,60}\b(due to|for|because of) .{0,20}(spam(?! content)|abuse)",
    r"mail sending denied",
)
PLAN_USED_UP = words(
    r"credits|upgrade your plan|\b(monthly|plan|subscription)\b.{0,30}\b(limit|quota)|\b(limit|quota)\b.{0,60}\bplan\b"
)
BASIC_AUTHENTICATION_OFF = words(
    r"basic auth\w* (is |has been )?(disabled|not supported|no longer|turned off)",
    r"(requires?|use|only) (oauth|modern auth)",
    r"password (auth\w*|login)s? (is |are |has been )?(disabled|no longer)",
)
