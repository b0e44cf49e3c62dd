"""Explanations of the error codes of the APIs, of programs that sign in by themselves, and of proxies."""

from __future__ import annotations

from smtpsetup.core.i18n import N_
from smtpsetup.core.model import Stage
from smtpsetup.diagnosis.explanation import ADMINISTRATOR, NETWORK, TRY_LATER, Explanation
from smtpsetup.diagnosis.rehearsal import ApiAnswer, Fault

_SAVE_AGAIN = N_("Save the new one: `smtpsetup login {account}`, with the option that names its place.")
_GUIDE = N_("The steps are in {docs}/oauth2.md, and for a program in {docs}/howto/program-without-a-person.md.")

API_EXPLANATIONS: dict[str, Explanation] = {
    "connect.proxy-failed": Explanation(
        N_("The proxy gives no connection to {server}."),
        (N_("Many proxies let nothing through but web pages on port 443."),),
        (
            N_("Check `proxy` in the account, or the variable `ALL_PROXY` or `HTTPS_PROXY`."),
            N_("Without a proxy for this account: `{configure} --proxy none`."),
        ),
        responsible=NETWORK,
        rehearsal="ALL_PROXY=socks5://127.0.0.1:1 smtpsetup test",
    ),
    "auth.access-denied": Explanation(
        N_("{server} does not let this sign-in send from {address}."),
        (
            N_("The program lacks the permission Mail.Send, or nobody has agreed to it."),
            N_("An administrator lets the program send from other mailboxes only (RBAC, or an access policy)."),
            N_("The administrator has just changed it: that takes up to two hours."),
        ),
        (N_("Ask your administrator to let the program send from {address}."), _GUIDE),
        responsible=ADMINISTRATOR,
        rehearsal=Fault(
            Stage.AUTH,
            api=ApiAnswer("graph", 403, "ErrorAccessDenied", "Access is denied. Check credentials and try again."),
        ),
    ),
    "auth.no-mailbox": Explanation(
        N_("{server} knows no mailbox {address} that mail can be sent from."),
        (
            N_("The address is misspelt, or is an alias or a group: only a mailbox can send."),
            N_("The mailbox has no licence, is a guest's, is new, or is on a server of the organisation's own."),
        ),
        (N_("Use the main address of a mailbox, or send over SMTP: `{configure} --transport smtp`."),),
        responsible=ADMINISTRATOR,
        rehearsal=Fault(
            Stage.AUTH,
            api=ApiAnswer(
                "graph",
                404,
                "MailboxNotEnabledForRESTAPI",
                "The mailbox is either inactive, soft-deleted, or is hosted on-premise.",
            ),
        ),
    ),
    "auth.api-disabled": Explanation(
        N_("The Gmail API is switched off in the project of this client id."),
        (N_("It must be enabled once in the Google Cloud project of the client id or the service account."),),
        (
            N_("Enable it, and wait some minutes: https://console.cloud.google.com/apis/library/gmail.googleapis.com"),
            TRY_LATER,
        ),
        rehearsal=Fault(
            Stage.AUTH,
            api=ApiAnswer(
                "gmail",
                403,
                "accessNotConfigured",
                "Gmail API has not been used in project 1 before or it is disabled.",
            ),
        ),
    ),
    "auth.client-secret-refused": Explanation(
        N_("The provider does not accept the client secret of {account}."),
        (
            N_("At Microsoft, the id of the secret was copied in place of its value, which is shown once only."),
            N_("The secret was deleted, or belongs to another program."),
        ),
        (N_("Make a new secret where the program is registered."), _SAVE_AGAIN),
    ),
    "auth.client-secret-expired": Explanation(
        N_("The client secret of {account} has expired."),
        (N_("At Microsoft a client secret lives for two years at most."),),
        (N_("Make a new secret where the program is registered."), _SAVE_AGAIN),
    ),
    "auth.client-certificate-refused": Explanation(
        N_("The provider does not accept the certificate or the key of {account}."),
        (
            N_("It was not uploaded there, has expired, or was deleted."),
            N_("It belongs to another program or service account."),
        ),
        (
            N_("Upload the certificate where the program is registered; for a service account, make a new key."),
            _SAVE_AGAIN,
        ),
    ),
    "auth.delegation-missing": Explanation(
        N_("The organisation does not let this program send from {address}."),
        (
            N_(
                "The program's client id or the scope is not in the list for domain-wide "
                "delegation, or was added only today."
            ),
            N_("The list has the address of the service account in place of its number."),
        ),
        (
            N_(
                "Ask a super administrator to add the client id and the scope: "
                "https://admin.google.com/ac/owl/domainwidedelegation"
            ),
            _GUIDE,
        ),
        responsible=ADMINISTRATOR,
    ),
    "auth.clock-wrong": Explanation(
        N_("The provider says that this machine's clock is wrong."),
        (N_("What the program signs is good for some minutes only, by this machine's clock."),),
        (
            N_("Look at this machine's clock: `date`."),
            N_("Set it by the network: `timedatectl set-ntp true`."),
            TRY_LATER,
        ),
    ),
    "data.transfer-damaged": Explanation(
        N_("What arrived at {server} is not the whole mail."),
        (N_("It was damaged or cut off on the way, perhaps by something that looks into connections."),),
        (TRY_LATER, N_("Try from another network.")),
        responsible=NETWORK,
        rehearsal=Fault(
            Stage.DATA,
            api=ApiAnswer(
                "graph", 400, "ErrorMimeContentInvalidBase64String", "Invalid base64 string for MIME content."
            ),
        ),
    ),
}
