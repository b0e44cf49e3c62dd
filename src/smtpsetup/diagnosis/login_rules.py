"""Rules for the login: numbers come last, since 535 stands for almost everything."""

from __future__ import annotations

from smtpsetup.core.failure import Kind
from smtpsetup.core.model import Stage
from smtpsetup.diagnosis import advice
from smtpsetup.diagnosis.phrases import (
    ACCOUNT_OFF,
    BASIC_AUTHENTICATION_OFF,
    BLOCKLIST,
    NOT_ACTIVE,
    NOT_PAID,
    PLAN_USED_UP,
    SPAMMER,
)
from smtpsetup.diagnosis.rule import TRANSACTION, Rule, words

_AUTH = (Stage.AUTH,)
# Microsoft quotes the refusal of the login when the next command comes
_AUTH_OR_LATER = (Stage.AUTH, *TRANSACTION)

LOGIN_RULES: tuple[Rule, ...] = (
    Rule("auth.not-offered", _AUTH, Kind.NOT_OFFERED),
    Rule("auth.oauth2-required", kind=Kind.NO_COMMON_MECHANISM, only_offered=("XOAUTH2", "OAUTHBEARER")),
    Rule("auth.no-common-mechanism", kind=Kind.NO_COMMON_MECHANISM),
    Rule("auth.no-common-mechanism", _AUTH, codes=(504,)),
    Rule(
        "auth.no-common-mechanism",
        _AUTH,
        codes=(5,),
        phrase=words(
            r"too weak",
            r"(mechanism|method|auth type).* (not |un)(supported|available|recogni[sz]ed|implemented|allowed)",
            r"(invalid|no|unsupported|unrecogni[sz]ed|unknown) (auth\w* )?(mechanism|method|type)",
        ),
    ),
    Rule("server.refused", _AUTH, codes=(503,), phrase=r"\bduring\b|already"),
    Rule(
        "auth.not-offered",
        _AUTH,
        codes=(500, 502, 503),
        phrase=words(
            r"not (enabled|available|supported|implemented|recogni[sz]ed|allowed|advertised)",
            r"un(known|recogni[sz]ed|implemented|supported)",
            r"only (allowed|available|supported|accepted)",
        ),
    ),
    Rule(
        "auth.not-offered",
        _AUTH,
        codes=(5,),
        phrase=r"auth\w* (is )?not (allowed|available|enabled|supported) (on|at|by)\b",
    ),
    # limits before blocks: they pass, and their words mention blocks
    Rule("limit.rate", _AUTH, phrase=r"concurrent|too many (open |active )?(connections|sessions)"),
    Rule("limit.quota", _AUTH, phrase=PLAN_USED_UP, advice=advice.PLAN),
    Rule(
        "auth.app-password-required",
        _AUTH,
        phrase=words(
            r"(not allowed|not supported|disabled|api key).*\b(2fa|two.factor|mfa)",
            r"(use|requires?|need) (an? )?api key",
        ),
        advice=advice.API_KEY,
    ),
    Rule(
        "auth.app-password-required",
        _AUTH,
        phrase=r"authori[sz]ation code|授权码",
        advice=advice.AUTHORIZATION_CODE,
    ),
    # Tencent's reply in GBK: "log in with an authorization code"
    Rule("auth.app-password-required", _AUTH, link=r"mail\.qq\.com/\S*no=1001256", advice=advice.AUTHORIZATION_CODE),
    Rule(
        "auth.app-password-required",
        _AUTH,
        phrase=words(
            r"\bapp(lication)?[- ]?(specific )?password|#AUTH005|parol prilozheniya|invalid scope",
            r"(third.party|external|device|client)( app| program| mail client| application)?s?.{0,20} password",
            r"password for (external|third.party|mail) ",
            r"(enabled?|requires?|turned on|active|uses?).{0,30}\b(2fa|two.(factor|step)|multi.?factor)",
            r"\b(2fa|two.(factor|step)|multi.?factor)\b.{0,40}(enabled|required|active|turned on)",
            r"\btotp\b",
        ),
    ),
    Rule(
        "auth.too-many-attempts",
        _AUTH,
        phrase=words(
            r"too (many|much)|many times|rate[ -]?limit|(failed|login|auth\w*|password) .*attempts|brute",
            r"too (fast|frequent)",
            r"(excessive|repeated|multiple) (failed )?(auth|login)",
        ),
    ),
    Rule(
        "auth.temporary",
        _AUTH,
        codes=(4,),
        phrase=words(
            r"temporar|try (again|later)|look ?up|internal|unavailable|not available|starting|maintenance",
            r"\bsystem\b",
        ),
    ),
    Rule(
        "auth.bad-credentials", _AUTH, phrase=r"abnormal.{0,40}not open.{0,40}incorrect", advice=advice.SEVERAL_CAUSES
    ),
    Rule(
        "auth.sign-in-blocked",
        _AUTH,
        phrase=words(
            r"password\b.{0,20}(expired|too (simple|weak|short|old)|must be changed|not (strong|secure|complex))",
            r"(change|reset|update|renew) (your |the )?password|(weak|expired|compromised|leaked) password",
            r"password (change|reset) (is )?(required|needed)",
        ),
        advice=advice.CHANGE_PASSWORD,
    ),
    Rule(
        "auth.sign-in-blocked",
        _AUTH,
        phrase=words(
            r"(unauthori[sz]ed|unknown|untrusted|forbidden) ip\b",
            r"\bip( address)?\b.{0,30}not (allowed|authori[sz]ed|permitted|in (the|your)|on (the|your)|white ?listed)",
            r"not (allowed|permitted|authori[sz]ed) from (this|your) (ip|address|host|network)",
        ),
        advice=advice.ADDRESS_LIST,
    ),
    Rule(
        "auth.sign-in-blocked",
        _AUTH_OR_LATER,
        phrase=r"did not meet the criteria|conditional access|web browser",
    ),
    Rule(
        "auth.sign-in-blocked",
        _AUTH,
        codes=(5,),
        phrase=words(
            r"suspicious|sign-?in blocked|verify your (account|identity|phone)",
            r"accept .{0,20}(eula|terms|agreement)",
            r"(country|location|region)\b.*(not allowed|blocked|denied)|not allowed from (this|your)",
        ),
    ),
    Rule("auth.sign-in-blocked", _AUTH, codes=(534,)),
    Rule("auth.oauth2-required", _AUTH_OR_LATER, codes=(5,), phrase=BASIC_AUTHENTICATION_OFF),
    Rule(
        "auth.disabled-by-admin",
        _AUTH_OR_LATER,
        codes=(5,),
        phrase=r"security defaults|disabled by (your |the )?admin|smtpclientauthentication is disabled",
    ),
    Rule(
        "mail.sender-unverified",
        _AUTH,
        phrase=words(
            r"(domain|sender)\b.{0,40}(verification|not (been )?verified|unverified)",
            r"verify (your|the) (domain|sender)",
        ),
    ),
    Rule(
        "auth.disabled-by-admin",
        _AUTH,
        phrase=words(
            r"no permission|permission denied|not have (the )?permission|access rights|无权",
            r"(not|n.t) (allowed|authori[sz]ed|permitted|enabled) (to|for) "
            r"(use|send|sending|access|relay|smtp|outbound)",
            r"\b(smtp|imap|pop3?|service|sending|outgoing|outbound|relay|mail (program|client)s?|protocol)\b.{0,60}"
            r"(disabled|not (been )?(enabled|activated|allowed|active|open|available|permitted)|switched off|turned off"
            r"|forbidden|access denied)",
            r"\b(smtp|imap|pop3?)(/\w+)?( service| access| use| usage)? (is |has been |was )?"
            r"(blocked|off|not used|not in use|restricted|denied)\b",
            r"(allows?|permits?) only|only (allows|for) (web|imap|api)|webmail only|can.t send",
            r"not include .{0,20}(smtp|imap|access)|(enable|turn on|activate) (smtp|imap|pop)",
        ),
        advice=advice.SWITCHED_OFF,
    ),
    Rule(
        "limit.quota",
        _AUTH,
        codes=(4, 53, 55),
        phrase=r"\bquota\b|(e-?mail|message|mail|sending|daily|hourly) limit|limit .{0,30}(reached|exceeded)",
    ),
    # accounts
    Rule("limit.account-blocked", _AUTH, phrase=NOT_ACTIVE, advice=advice.NOT_ACTIVATED),
    Rule("limit.account-blocked", _AUTH, phrase=NOT_PAID, advice=advice.UNPAID),
    Rule("limit.account-blocked", _AUTH, codes=(5,), phrase=SPAMMER, advice=advice.TAKEN_FOR_SPAMMER),
    Rule("limit.account-blocked", _AUTH, phrase=ACCOUNT_OFF, advice=advice.ACCOUNT_DISABLED),
    Rule("limit.account-blocked", _AUTH, codes=(5,), enhanced=r"5\.2\.1|5\.7\.13", advice=advice.ACCOUNT_DISABLED),
    # RFC 5248: user account disabled
    Rule("limit.account-blocked", _AUTH, codes=(525,), advice=advice.ACCOUNT_DISABLED),
    Rule("server.client-blocked", _AUTH, codes=(5,), phrase=BLOCKLIST),
    Rule(
        "auth.temporary",
        _AUTH,
        codes=(5,),
        phrase=r"\b(system|server|service) (is )?(too )?busy|try (again )?later|temporar",
    ),
    # numbers
    # the client's fault, as Google words it
    Rule("server.refused", _AUTH, codes=(535,), enhanced=r"5\.5\.\d+"),
    Rule(
        "auth.bad-credentials",
        _AUTH,
        codes=(4,),
        phrase=words(
            r"no such (user|account)",
            r"(invalid|incorrect|wrong|bad) .{0,20}(credential|password|user|login)",
            r"(user|account) (unknown|not found)",
        ),
    ),
    Rule("auth.temporary", _AUTH, codes=(4,)),
    # 334: an error challenge for a token, after which the server closed the connection
    Rule("auth.bad-credentials", _AUTH, codes=(334, 526, 535, 550, 554)),
    Rule("auth.required", _AUTH, codes=(530,)),
)
