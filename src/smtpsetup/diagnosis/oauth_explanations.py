"""Explanations of the error codes of OAuth2."""

from __future__ import annotations

from smtpsetup.core.i18n import N_
from smtpsetup.diagnosis.explanation import ADMINISTRATOR, Explanation

_AGAIN = N_("Sign in again: `{sign_in}`.")
_GUIDE = N_("What has to be set up at the provider is in {docs}/oauth2.md, step by step.")

SIGN_IN_EXPLANATIONS: dict[str, Explanation] = {
    "auth.token-expired": Explanation(
        N_("The sign-in of {account} has ended."),
        (N_("It was not used for too long, or the organisation lets a sign-in live only for a while."),),
        (_AGAIN,),
    ),
    "auth.token-revoked": Explanation(
        N_("The sign-in of {username} (OAuth2) is not taken any more."),
        (
            N_("Access was taken back, or the password was changed, which ends every sign-in."),
            N_("The registered program is still in testing: Google ends its sign-ins after seven days."),
            N_("Sending with a login is switched off for this mailbox or its whole organisation."),
        ),
        (
            N_("Sign in again, as {username}: `{sign_in}`."),
            N_("Ask your administrator whether the mailbox may send with a login (authenticated SMTP)."),
        ),
    ),
    "auth.consent-required": Explanation(
        N_("The provider wants somebody to agree that this program may send mail."),
        (N_("Nobody has agreed yet, or what was agreed to was taken back."),),
        (
            N_("Sign in again and agree: `{sign_in}`."),
            N_(
                "If you may not agree yourself, ask your administrator to approve it, with the page that "
                "{docs}/oauth2.md names."
            ),
            _GUIDE,
        ),
    ),
    "auth.admin-approval-required": Explanation(
        N_("An administrator must approve this program before anybody signs in with it."),
        (N_("The organisation lets its people agree to certain programs only."),),
        (
            N_("Ask your administrator to approve it, with the page that {docs}/oauth2.md names."),
            N_(
                "Send until then through another server that you have an account at: `smtpsetup configure ADDRESS "
                "--host HOST`."
            ),
        ),
        responsible=ADMINISTRATOR,
    ),
    "auth.device-code-blocked": Explanation(
        N_("The organisation does not allow signing in with a code on another device."),
        (N_("Many block it, since such codes are asked for by fraudsters, too."),),
        (
            N_("Sign in in a browser: `{sign_in} --browser`."),
            N_("Or ask your administrator to allow device codes for this program."),
        ),
    ),
    "auth.client-not-public": Explanation(
        N_("The registered program may not sign in without a secret."),
        (N_("It is not a public client: at Microsoft, public client flows are switched off in its registration."),),
        (N_('Switch on "Allow public client flows" under Authentication in its registration, and save there.'), _AGAIN),
    ),
    "auth.client-unknown": Explanation(
        N_("The provider does not know the program with this client id."),
        (
            N_(
                "The client id is misspelt, or the program is switched off, deleted or registered in another "
                "organisation (tenant)."
            ),
            N_(
                "Its client secret is missing or wrong: Google wants one, in config.toml or in "
                "SMTPSETUP_GOOGLE_CLIENT_SECRET."
            ),
        ),
        (
            N_("Compare it with the registration, then name the right one: `{sign_in} --client-id ID`."),
            N_("If it is registered for one organisation only, name that: `{sign_in} --tenant DOMAIN`."),
            _GUIDE,
        ),
    ),
    "auth.redirect-not-registered": Explanation(
        N_("The provider does not send the browser back to this machine."),
        (N_("The redirect address is not in the program's registration."),),
        (
            N_(
                'Add http://localhost there, as one of "Mobile and desktop applications"; at Google, the type must be '
                '"Desktop app".'
            ),
            _AGAIN,
        ),
    ),
    "auth.wrong-tenant": Explanation(
        N_(
            "The account does not belong to the organisation (tenant) that was asked, or the program is not "
            "registered for it."
        ),
        (
            N_("A private Microsoft account is not part of an organisation, and an organisation's is no private one."),
            N_("The program is registered for one organisation only."),
        ),
        (
            N_("Name the organisation: `{sign_in} --tenant DOMAIN`; for private accounts `--tenant consumers`."),
            N_("Or let the registration support accounts in any organisation and private ones."),
        ),
    ),
    "auth.scope-refused": Explanation(
        N_("The provider does not give this program the permission to send mail (scope)."),
        (N_("The permission is not in its registration, or it was asked for together with one of another service."),),
        (N_("Add the permission where the program is registered; {docs}/oauth2.md has its name."), _AGAIN),
    ),
    "auth.sign-in-declined": Explanation(
        N_("The question whether this program may send mail was answered with no."),
        (),
        (N_("To agree after all: `{sign_in}`."),),
    ),
    "auth.sign-in-timeout": Explanation(
        N_("Nobody signed in in time."),
        (
            N_("The code or the page is good for a few minutes only."),
            N_(
                "The page showed an error instead: a wrong client id (invalid_client), or a redirect address that is "
                "not registered (AADSTS50011)."
            ),
        ),
        (N_("Begin anew: `{sign_in}`."),),
    ),
    "auth.wrong-user": Explanation(
        N_("{server} does not take this sign-in for {username}."),
        (
            N_("Another user was signed in at the provider's page, and so it was they who signed in."),
            N_(
                "The mailbox has another name than {username}, as with an alias or a shared mailbox: `--username NAME`."
            ),
            N_("Sending with a login is switched off for this mailbox or its whole organisation."),
        ),
        (
            N_("Sign out at the provider, or open a private window, and sign in as {username}: `{sign_in}`."),
            N_("Ask your administrator whether the mailbox may send with a login (authenticated SMTP)."),
        ),
    ),
}
