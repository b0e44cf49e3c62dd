"""Advice for answers of Microsoft Graph and the Gmail API that share an error code with replies over SMTP."""

from __future__ import annotations

from smtpsetup.core.i18n import N_
from smtpsetup.diagnosis.explanation import ADMINISTRATOR, ASK_PROVIDER, YOU
from smtpsetup.diagnosis.rule import Advice

LARGE_MAIL = Advice(
    (
        N_(
            "The permission to send is enough for about 2 MB. Larger mail goes by a draft, "
            "which needs another permission."
        ),
    ),
    (
        N_("Sign in again with the permission for drafts (Mail.ReadWrite): `{sign_in} --large-mail`."),
        N_("Or send over SMTP, which takes larger mail: `{configure} --transport smtp`."),
        N_("Or send a smaller file, or a link to it."),
    ),
    YOU,
)
ACCESS_POLICY = Advice(
    (N_("A policy of your organisation (Conditional Access) wants a new sign-in, or forbids one from here."),),
    (N_("Sign in again: `{sign_in}`."), N_("Ask your administrator about sign-in policies.")),
    ADMINISTRATOR,
)
SEND_AS = Advice(
    (N_("{username} has no right to send as that address: a shared mailbox needs the right Send As."),),
    (
        N_(
            "Ask your administrator for it: `Add-RecipientPermission {address} -Trustee {username} "
            "-AccessRights SendAs`."
        ),
        N_("An alias can be the sender only where the organisation allows it (SendFromAliasEnabled)."),
    ),
    ADMINISTRATOR,
)
DOMAIN_POLICY = Advice(
    (N_("The administrator of the organisation does not let programs use the Gmail API."),),
    (N_("Ask your administrator to allow it for this program, or send over SMTP."),),
    ADMINISTRATOR,
)
MAILBOX_FULL = Advice(
    (N_("The mailbox of the sender is full, so that no copy of the mail can be kept."),),
    (N_("Delete mail from it, or ask your administrator for more room."),),
    YOU,
)
RECIPIENTS = Advice(
    (N_("The provider could not read an address in the mail's header: {detail}"),),
    (N_("Check the recipients' addresses."),),
    YOU,
)
NOT_SENT = Advice(
    (N_("The provider answered 200, but only 202 means that the mail was sent. It does that for some large mails."),),
    (N_("Send a smaller mail."), ASK_PROVIDER),
)
