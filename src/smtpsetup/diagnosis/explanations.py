"""What each error code means to a person, and the way out.

Texts are marked for the catalogue here and translated when they are shown.

Between braces: `server` (host:port), `host`, `port`, `username`, `domain` (of the sender), `account`, `address`,
`configure` (the command that changes it), `sign_in` (the one that signs in anew), `place` (of the password), `detail`
(technical).
"""

from __future__ import annotations

from smtpsetup.core.i18n import N_
from smtpsetup.diagnosis.explanation import Explanation
from smtpsetup.diagnosis.oauth_explanations import SIGN_IN_EXPLANATIONS

SETTINGS = N_("Look at the settings: `smtpsetup accounts show {account}`.")
_TRY_LATER = N_("Try again later; the same command may work then.")
NEW_SECRET = N_("Enter the password again: `smtpsetup login {account}`.")
_ASK_PROVIDER = N_("Ask whoever runs the server, and show them the message above.")

USE_STARTTLS = N_("Use STARTTLS there: `{configure} --port {port} --security starttls`.")
USE_TLS = N_("Use TLS there: `{configure} --port {port} --security tls`.")
OTHER_SERVER = N_("If the server has moved, say where to: `{configure} --host HOST --port 465 --security tls`.")
OTHER_PORT = N_(
    "Try the other port: `{configure} --port 465 --security tls`, or `{configure} --port 587 --security starttls`."
)
TLS_FIRST = N_("Try TLS from the first byte: `{configure} --port 465 --security tls`.")
FOR_UNSAVED = {
    OTHER_SERVER: N_("Use 465 with `--security tls` or 587 with `--security starttls`, as your provider says."),
    OTHER_PORT: N_("Try the other port: 465 with `--security tls`, or 587 with `--security starttls`."),
    TLS_FIRST: N_("Try TLS from the first byte: `--port 465 --security tls`."),
    SETTINGS: "",
    NEW_SECRET: N_("Run the command again with the right user name and password; nothing was saved."),
    USE_STARTTLS: N_("Run the command again with `--port {port} --security starttls`."),
    USE_TLS: N_("Run the command again with `--port {port} --security tls`."),
}
"""While an account is being set up: what to say instead of hints that speak of a saved one, `""` for nothing."""
ELSEWHERE = N_("Change the password where the account takes it from: {place}.")
"""Instead of NEW_SECRET for an account whose password smtpsetup only reads."""
TOKEN_ELSEWHERE = N_("Sign in again with the program that gives the token: {place}.")
"""Instead of signing in again here, for an account whose access token another program gives."""

EXPLANATIONS: dict[str, Explanation] = {
    **SIGN_IN_EXPLANATIONS,
    "dns.not-found": Explanation(
        N_("There is no server with the name {host}."),
        (N_("The name is misspelt, or the server no longer exists."),),
        (
            N_("Compare it with your provider's help page."),
            N_("See who names which server: `smtpsetup identify {address} --all`."),
        ),
    ),
    "dns.temporary": Explanation(
        N_("The address of {host} could not be looked up at the moment."),
        (N_("This machine has no network, or its name server does not answer."),),
        (N_("Check the network connection."), _TRY_LATER),
    ),
    "connect.refused": Explanation(
        N_("{server} refused the connection."),
        (N_("No mail server listens on port {port} there: the port or the host is wrong, or the server is down."),),
        (_TRY_LATER, OTHER_SERVER),
    ),
    "connect.timeout": Explanation(
        N_("{server} did not answer."),
        (
            N_("A firewall or the internet provider blocks port {port}; port 25 is blocked nearly everywhere."),
            N_("The host is wrong, or the server is down."),
        ),
        (_TRY_LATER, N_("Try from another network."), OTHER_PORT),
    ),
    "connect.port-blocked": Explanation(
        N_("{server} cannot be reached from this network, though the network works."),
        (
            N_(
                "Your network or internet provider blocks port {port}, as many do with 25 and some cloud hosts with "
                "every mail port."
            ),
            N_("The server does not use this port, or its own firewall shuts this network out."),
        ),
        (
            N_(
                "Ask whoever runs the network to open port {port} for outgoing connections; cloud hosts do it on "
                "request."
            ),
            N_("Try from another network, such as a phone's."),
        ),
    ),
    "connect.intercepted": Explanation(
        N_("Something else answers in the place of {host}, so no password was sent."),
        (
            N_("A web host or a hotel's network leads outgoing mail to a server of its own."),
            N_("An antivirus program or a company proxy stands between."),
        ),
        (
            N_(
                "Ask whoever runs the network or the web host to let connections to {server} through, or which server "
                "they want you to use."
            ),
            N_("Try from another network, such as a phone's."),
        ),
    ),
    "connect.unreachable": Explanation(
        N_("There is no way from this machine to {server}."),
        (N_("The machine is offline, or the server has only an IPv6 address and this network has no IPv6."),),
        (N_("Check the network connection."), _TRY_LATER),
    ),
    "tls.certificate-expired": Explanation(
        N_("The certificate of {host} is not valid today."),
        (N_("It has expired and was not renewed."), N_("This machine's clock is wrong.")),
        (N_("Check the clock: `date`."), _ASK_PROVIDER),
    ),
    "tls.hostname-mismatch": Explanation(
        N_("The certificate of the server at {server} is made out to another name than {host}."),
        (
            N_("{host} is an alias, and the certificate carries the mail provider's own name."),
            N_("Something else answers in the host's place."),
        ),
        (N_("Use the name that your provider gives for its server: `--host NAME`."), _ASK_PROVIDER),
    ),
    "tls.untrusted": Explanation(
        N_("The certificate of {server} comes from an authority that this machine does not know."),
        (
            N_("The server uses a certificate of its own (a NAS, a company server, Proton Bridge)."),
            N_("An antivirus program or a company proxy stands between and signs with its own authority."),
            N_("This machine lacks the usual authorities (package `ca-certificates`)."),
        ),
        (
            N_(
                "If the server is yours, give its authority: `--ca-file FILE`, or the certificate's SHA-256: "
                "`--tls-fingerprint`."
            ),
            N_("Otherwise do not go on: your password would go to an unknown server."),
        ),
    ),
    "tls.fingerprint-mismatch": Explanation(
        N_("The certificate of {server} is not the one that the account names."),
        (N_("The server has a new certificate."), N_("Something else answers in the host's place.")),
        (N_("Ask whoever runs the server for the new fingerprint. The one seen now is {detail}."),),
    ),
    "tls.protocol-too-old": Explanation(
        N_("{server} speaks only TLS versions that are no longer safe."),
        (N_("The server's software is old: it lacks TLS 1.2."),),
        (_ASK_PROVIDER,),
    ),
    "tls.not-spoken": Explanation(
        N_("{server} does not speak TLS from the first byte."),
        (N_("The port expects STARTTLS: the connection starts in the clear and is upgraded."),),
        (USE_STARTTLS,),
    ),
    "tls.expected": Explanation(
        N_("{server} waits for TLS from the first byte."),
        (N_("The settings say STARTTLS or no TLS, but this port starts with TLS, as 465 does."),),
        (USE_TLS,),
    ),
    "tls.handshake-failed": Explanation(
        N_("The TLS connection with {server} could not be set up."),
        (
            N_(
                "The two sides have no common encryption, or something between them broke the connection off "
                "({detail})."
            ),
        ),
        (_TRY_LATER, _ASK_PROVIDER),
    ),
    "greeting.rejected": Explanation(
        N_("{server} does not want to talk to this machine."),
        (N_("It may be a server for incoming mail, or it does not accept connections from this network."),),
        (N_("See who names which server: `smtpsetup identify {address} --all`."), _ASK_PROVIDER),
    ),
    "greeting.not-smtp": Explanation(
        N_("What answers at {server} is not a mail server."),
        (N_("The port belongs to another service, or a network login page answers in its place."),),
        (OTHER_PORT,),
    ),
    "greeting.timeout": Explanation(
        N_("{server} accepted the connection but said nothing."),
        (N_("A firewall stands in the way, or the server is overloaded."),),
        (_TRY_LATER, OTHER_PORT),
    ),
    "ehlo.name-rejected": Explanation(
        N_("{server} does not accept the name that this machine greets it with."),
        (N_("smtpsetup greets with the domain of the sender, {domain}; this server wants another name."),),
        (_ASK_PROVIDER,),
    ),
    "starttls.not-offered": Explanation(
        N_("{server} offers no TLS, so no password and no mail was sent to it."),
        (N_("It is the wrong port or host."), N_("Something in between removed the offer, to read along.")),
        (TLS_FIRST, N_("Try from another network."), _ASK_PROVIDER),
    ),
    "starttls.refused": Explanation(
        N_("{server} offers TLS but refused to start it."),
        (N_("The server's TLS is set up wrongly."),),
        (TLS_FIRST, _ASK_PROVIDER),
    ),
    "starttls.required": Explanation(
        N_("The connection to {server} is not encrypted, so the login was stopped."),
        (N_('The account says `security = "none"`, which is for servers on this machine only.'),),
        (N_("Use `--security starttls` or `--security tls`."),),
    ),
    "starttls.injection": Explanation(
        N_("{server} sent data behind its STARTTLS reply, which an attacker does to slip in commands."),
        (N_("Something between this machine and the server tampers with the connection."),),
        (N_("Try from another network."), _ASK_PROVIDER),
    ),
    "auth.not-offered": Explanation(
        N_("{server} offers no login."),
        (N_("It is a server for incoming mail, or one that knows its customers by their network."),),
        (
            N_("See who names which server: `smtpsetup identify {address} --all`."),
            N_("If it needs no login: `--auth none`."),
        ),
    ),
    "auth.no-common-mechanism": Explanation(
        N_("{server} offers no way to log in with a password that smtpsetup knows."),
        (N_("It offers: {detail}."),),
        (_ASK_PROVIDER,),
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
    ),
    "auth.app-password-required": Explanation(
        N_("{server} wants an app password; your own password does not work there."),
        (N_("The account has two-step verification, or the provider takes only app passwords from mail programs."),),
        (N_("Create an app password at your provider."), NEW_SECRET),
    ),
    "auth.oauth2-required": Explanation(
        N_("{server} no longer takes passwords; it wants OAuth2."),
        (N_("The provider has switched password login off, app passwords included."),),
        (
            N_("Sign in with OAuth2: `{configure} --auth oauth2`."),
            N_("Send through another server that you have an account at: `smtpsetup configure ADDRESS --host HOST`."),
        ),
    ),
    "auth.disabled-by-admin": Explanation(
        N_("Sending with a login is switched off for this mailbox or its whole organisation."),
        (N_("An administrator has to allow authenticated SMTP; the password may well be right."),),
        (N_("Ask your administrator to turn on authenticated SMTP for this mailbox, and show them the reply above."),),
    ),
    "auth.sign-in-blocked": Explanation(
        N_("The provider blocked this sign-in, although what proves who you are may be right."),
        (N_("It found the place or the program unusual, or a policy of your organisation forbids it."),),
        (
            N_("Sign in once in a web browser and confirm that it was you."),
            N_("Ask your administrator about sign-in policies."),
            _TRY_LATER,
        ),
    ),
    "auth.too-many-attempts": Explanation(
        N_("{server} wants no more login attempts for now."),
        (N_("There were many logins in a short time, perhaps with a wrong password in another program."),),
        (N_("Wait at least 15 minutes."), N_("Look for other programs that log in with an old password.")),
    ),
    "auth.temporary": Explanation(
        N_("{server} cannot check logins at the moment."),
        (N_("The trouble is on the server's side."),),
        (_TRY_LATER,),
    ),
    "auth.required": Explanation(
        N_("{server} wants a login before it takes mail."),
        (N_("The account says that no login is needed."),),
        (N_("Set the account up with a password: `{configure} --auth password`."),),
    ),
    "mail.sender-not-allowed": Explanation(
        N_("{server} does not let {username} send from this address."),
        (N_("The From address must be the mailbox that logs in, or an alias of it."),),
        (N_("Send from the address of the account."), N_("Or add the other address as an alias at your provider.")),
    ),
    "mail.sender-unverified": Explanation(
        N_("The sender address or its domain is not verified at the provider."),
        (N_("Relay services take mail only from addresses that you have proved to be yours."),),
        (N_("Verify the address or the domain in the provider's settings."),),
    ),
    "mail.smtputf8-unsupported": Explanation(
        N_("{server} cannot take addresses with letters such as å, ä, ö before the @."),
        (N_("It lacks the extension SMTPUTF8."),),
        (N_("Use an address with plain letters before the @."),),
    ),
    "rcpt.unknown": Explanation(
        N_("The recipient does not exist."),
        (N_("The address is misspelt, or the mailbox is closed."),),
        (N_("Check the address."),),
    ),
    "rcpt.relay-denied": Explanation(
        N_("{server} does not pass mail on to this recipient for you."),
        (N_("It wants a login first, or it is a server for incoming mail."),),
        (SETTINGS, N_("See who names which server: `smtpsetup identify {address} --all`.")),
    ),
    "rcpt.greylisted": Explanation(
        N_("{server} asks to be tried again later (greylisting)."),
        (N_("The recipient's server puts off senders that it sees for the first time."),),
        (N_("Try again in 15 minutes."),),
    ),
    "rcpt.too-many": Explanation(
        N_("There are too many recipients in one message for {server}."),
        (),
        (N_("Send to fewer recipients at a time."),),
    ),
    "rcpt.mailbox-full": Explanation(
        N_("The recipient's mailbox is full."),
        (),
        (N_("Tell the recipient another way, or try again later."),),
    ),
    "data.too-large": Explanation(
        N_("The message is larger than {server} takes."),
        (N_("Attachments grow by a third on their way."),),
        (N_("Send a smaller file, or a link to it."),),
    ),
    "data.content-rejected": Explanation(
        N_("{server} refused the content of the message."),
        (N_("A filter took it for spam or for a forbidden kind of file."),),
        (N_("Write a real subject and text, and leave out programs and archives."), _ASK_PROVIDER),
    ),
    "data.unauthenticated-domain": Explanation(
        N_("{server} does not believe that the mail comes from {domain}."),
        (N_("The domain's SPF, DKIM or DMARC record does not allow this server to send for it."),),
        (N_("Send through the server of the domain's own provider, or add this one to the domain's SPF record."),),
    ),
    "data.line-too-long": Explanation(
        N_("A line of the message is too long: mail allows 998 bytes."),
        (),
        (N_("Break the line, or send the text as an attachment."),),
    ),
    "data.lost-before-reply": Explanation(
        N_("The connection was lost after the whole message had been sent: it may or may not have been delivered."),
        (N_("The server's answer to the end of the message did not arrive."),),
        (N_("Ask the recipient, or look in the Sent folder, before you send it again."),),
    ),
    "limit.rate": Explanation(
        N_("{server} wants fewer messages or connections in the same time."),
        (),
        (N_("Wait some minutes and send more slowly."),),
    ),
    "limit.quota": Explanation(
        N_("The limit of the account at {server} is reached."),
        (N_("Providers allow a certain number of messages or recipients a day."),),
        (N_("Wait until tomorrow, or ask the provider for a higher limit."),),
    ),
    "limit.account-blocked": Explanation(
        N_("The provider has blocked this account from sending."),
        (N_("It is not activated yet, not paid for, or it was taken for a spammer."),),
        (N_("Sign in at the provider's web site; it says there why."), _ASK_PROVIDER),
    ),
    "server.client-blocked": Explanation(
        N_("{server} refuses mail from this machine's network address."),
        (N_("The address is on a blocklist; servers for incoming mail block most home and cloud addresses."),),
        (N_("Send through your own provider's server with a login, not directly to the recipient's."),),
    ),
    "server.shutting-down": Explanation(
        N_("{server} is closing the connection."),
        (N_("It is being restarted or is overloaded."),),
        (_TRY_LATER,),
    ),
    "server.temporary": Explanation(
        N_("{server} has trouble at the moment."), (N_("The trouble is on the server's side."),), (_TRY_LATER,)
    ),
    "server.refused": Explanation(N_("{server} refused for good."), (), (_ASK_PROVIDER, SETTINGS)),
    "server.protocol-error": Explanation(
        N_("{server} answered in a way that is not SMTP."),
        (N_("What it said was: {detail}"),),
        (_TRY_LATER, _ASK_PROVIDER),
    ),
    "connection.lost": Explanation(
        N_("The connection to {server} was lost."),
        (N_("The network, a firewall or the server broke it off."),),
        (_TRY_LATER,),
    ),
}
