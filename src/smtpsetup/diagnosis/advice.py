"""Advice for replies that share an error code with others but need something else to be done."""

from __future__ import annotations

from smtpsetup.core.i18n import N_
from smtpsetup.diagnosis.explanation import (
    ADMINISTRATOR,
    ASK_PROVIDER,
    NEW_SECRET,
    PROVIDER,
    RECIPIENT,
    TRY_LATER,
    YOU,
)
from smtpsetup.diagnosis.rule import Advice

# logging in
API_KEY = Advice(
    (N_("With two-step verification, this service takes an API key as the password, not your own."),),
    (N_("Create an API key at your provider."), NEW_SECRET),
)
AUTHORIZATION_CODE = Advice(
    (N_("Mail programs log in with an authorization code, not with the password of the web site."),),
    (N_("Create an authorization code in the settings at your provider."), NEW_SECRET),
)
CHANGE_PASSWORD = Advice(
    (N_("The password is right, but it has expired or is too weak: the provider wants a new one."),),
    (N_("Change the password on the provider's web site."), NEW_SECRET),
)
ADDRESS_LIST = Advice(
    (N_("The account lets only certain network addresses sign in, and this machine's is not among them."),),
    (
        N_(
            "Add this machine's address at the provider (look for allowed or authorised IP addresses), or switch that "
            "list off."
        ),
    ),
)
SWITCHED_OFF = Advice(
    (
        N_("Mail programs are not allowed in the account's settings, which many providers have as the default."),
        N_("An administrator or the plan does not allow it; the password may well be right."),
    ),
    (
        N_("Allow it in the settings on the provider's web site (look for SMTP, IMAP or mail programs)."),
        N_("If there is no such setting, ask your administrator or the provider."),
    ),
    YOU,
)
SEVERAL_CAUSES = Advice(
    (
        N_("The provider's reply names several causes and does not say which: {detail}"),
        N_("Mail programs log in with an authorization code, not with the password of the web site."),
        N_("Mail programs must first be allowed in the account's settings (look for SMTP, IMAP or POP there)."),
    ),
    (N_("Create an authorization code in the settings at your provider."), NEW_SECRET),
)

# accounts
NOT_ACTIVATED = Advice(
    (N_("The account is not activated or not approved yet."),),
    (N_("Activate it on the provider's web site; a mail from them may say how."), ASK_PROVIDER),
    YOU,
)
UNPAID = Advice(
    (N_("Something is not paid, or the subscription has ended."),),
    (N_("See on the provider's web site what is due."),),
    YOU,
)
ACCOUNT_DISABLED = Advice(
    (N_("The account is locked or disabled, by the provider or by an administrator of your organisation."),),
    (N_("Ask your administrator or the provider to enable it, and show them the message above."),),
    ADMINISTRATOR,
)
TAKEN_FOR_SPAMMER = Advice(
    (
        N_("The provider took mail of this account or organisation for spam."),
        N_("Somebody else knows the password and sends with it."),
    ),
    (
        N_("Change the password, and look for mail that you did not send."),
        N_("Then ask the provider or your administrator to let the account send again."),
    ),
)

# limits
HOUR = Advice(
    (N_("The provider allows a certain number of messages or recipients an hour."),),
    (N_("Wait an hour, then send more slowly, or ask the provider for a higher limit."),),
)
PLAN = Advice(
    (N_("The messages of the plan are used up; the password is not at fault."),),
    (N_("Wait for the plan's next period, or choose a larger plan on the provider's web site."),),
    YOU,
)
RECIPIENT_RATE = Advice(
    (N_("The recipient gets more mail at the moment than their server takes; nothing is wrong here."),),
    (N_("Try again in an hour."),),
    RECIPIENT,
)

# recipients and messages
RECIPIENT_REFUSES = Advice(
    (
        N_("The recipient's side does not take mail from you: a rule of theirs, a closed group or a list of senders."),
        N_("The recipient may well exist; keep the address."),
    ),
    (N_("Reach the recipient another way, and ask them to let your mail in."),),
    RECIPIENT,
)
MALFORMED = Advice(
    (N_("The mail is not built as the standard asks: {detail}"),),
    (N_("Correct the program or the file that made the mail."),),
)
DOMAIN_LISTED = Advice(
    (N_("A domain of the sender or in the text is on a blocklist or has a bad name, not the address of a machine."),),
    (N_("Ask for its removal, at the list that the reply names; look whether its web site was broken into."),),
)

BLOCKED_AFTER_LOGIN = Advice(
    (
        N_(
            "After the login it is not this machine that is meant, but your provider's server, your organisation or a "
            "relay."
        ),
    ),
    (ASK_PROVIDER, TRY_LATER),
    PROVIDER,
)
LOGIN_NOT_COUNTED = Advice(
    (N_("The server took the login and yet wants one: for this sender or recipient, the account's does not count."),),
    (ASK_PROVIDER,),
    PROVIDER,
)
AFTER_LOGIN = {"server.client-blocked": BLOCKED_AFTER_LOGIN, "auth.required": LOGIN_NOT_COUNTED}
"""The advice for codes in a transaction of an account that has logged in."""
