"""Explanations of the error codes of authentication."""

from __future__ import annotations

from smtpsetup.core.i18n import N_
from smtpsetup.core.model import Stage
from smtpsetup.diagnosis.explanation import (
    ADMINISTRATOR,
    ASK_PROVIDER,
    NEW_SECRET,
    PROVIDER,
    SETTINGS,
    TRY_LATER,
    Explanation,
)
from smtpsetup.diagnosis.rehearsal import Act, Fault

LOGIN_EXPLANATIONS: dict[str, Explanation] = {
    "auth.not-offered": Explanation(
        N_("{server} offers no login."),
        (N_("It is a server for incoming mail, or one that knows its customers by their network."),),
        (
            N_("See who names which server: `smtpsetup identify {address} --all`."),
            N_("If it needs no login: `--auth none`."),
        ),
        rehearsal=Fault(Stage.AUTH, Act.WITHHOLD, offers=""),
    ),
    "auth.no-common-mechanism": Explanation(
        N_("{server} offers no way to log in with a password that smtpsetup knows."),
        (N_("It offers: {detail}."),),
        (ASK_PROVIDER,),
        responsible=PROVIDER,
        rehearsal=Fault(Stage.AUTH, Act.WITHHOLD, offers="GSSAPI NTLM"),
    ),
    "auth.bad-credentials": Explanation(
        N_("{server} did not accept the user name {username} with this password."),
        (
            N_(
                "The password or the user name is wrong: try them on the provider's web site. If they work there, it "
                "is one of the next two."
            ),
            N_(
                "The provider wants a password made for mail programs (an app password), as many do for accounts with "
                "two-step verification."
            ),
            N_("Mail programs must first be allowed in the account's settings (look for SMTP, IMAP or POP there)."),
        ),
        (NEW_SECRET, SETTINGS),
        rehearsal=Fault(Stage.AUTH, reply="535 5.7.8 Error: authentication failed"),
    ),
    "auth.app-password-required": Explanation(
        N_("{server} wants an app password; your own password does not work there."),
        (N_("The account has two-step verification, or the provider takes only app passwords from mail programs."),),
        (N_("Create an app password at your provider."), NEW_SECRET),
        rehearsal=Fault(Stage.AUTH, reply="534 5.7.9 Application-specific password required"),
    ),
    "auth.oauth2-required": Explanation(
        N_("{server} no longer takes passwords; it wants OAuth2."),
        (N_("The provider has switched password login off, app passwords included."),),
        (
            N_("Sign in with OAuth2: `{configure} --auth oauth2`."),
            N_("Send through another server that you have an account at: `smtpsetup configure ADDRESS --host HOST`."),
        ),
        rehearsal=Fault(Stage.AUTH, reply="535 5.7.139 Authentication unsuccessful, basic authentication is disabled."),
    ),
    "auth.disabled-by-admin": Explanation(
        N_("Sending with a login is switched off for this mailbox or its whole organisation."),
        (N_("An administrator has to allow authenticated SMTP; the password may well be right."),),
        (N_("Ask your administrator to turn on authenticated SMTP for this mailbox, and show them the reply above."),),
        responsible=ADMINISTRATOR,
        rehearsal=Fault(
            Stage.AUTH,
            reply="535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant.",
        ),
    ),
    "auth.sign-in-blocked": Explanation(
        N_("The provider blocked this sign-in, although what proves who you are may be right."),
        (N_("It found the place or the program unusual, or a policy of your organisation forbids it."),),
        (
            N_("Sign in once in a web browser and confirm that it was you."),
            N_("Ask your administrator about sign-in policies."),
            TRY_LATER,
        ),
        rehearsal=Fault(Stage.AUTH, reply="534 5.7.14 Please log in via your web browser and then try again."),
    ),
    "auth.too-many-attempts": Explanation(
        N_("{server} wants no more login attempts for now."),
        (N_("There were many logins in a short time, perhaps with a wrong password in another program."),),
        (N_("Wait at least 15 minutes."), N_("Look for other programs that log in with an old password.")),
        rehearsal=Fault(Stage.AUTH, reply="454 4.7.0 Too many login attempts, please try again later"),
    ),
    "auth.temporary": Explanation(
        N_("{server} cannot check logins at the moment."),
        (N_("The trouble is on the server's side."),),
        (TRY_LATER,),
        responsible=PROVIDER,
        rehearsal=Fault(Stage.AUTH, reply="454 4.7.0 Temporary authentication failure"),
    ),
    "auth.required": Explanation(
        N_("{server} wants a login before it takes mail."),
        (N_("The account says that no login is needed."),),
        (N_("Set the account up with a password: `{configure} --auth password`."),),
        rehearsal=Fault(Stage.MAIL, reply="530 5.7.0 Authentication required", needs="--auth none"),
    ),
}
