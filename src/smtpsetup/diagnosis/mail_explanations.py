"""Explanations of the error codes of a mail transaction."""

from __future__ import annotations

from smtpsetup.core.i18n import N_
from smtpsetup.core.model import Stage
from smtpsetup.diagnosis.explanation import (
    ADMINISTRATOR,
    ASK_PROVIDER,
    PROVIDER,
    RECIPIENT,
    SETTINGS,
    TRY_LATER,
    Explanation,
)
from smtpsetup.diagnosis.rehearsal import Act, Fault

MAIL_EXPLANATIONS: dict[str, Explanation] = {
    "mail.sender-not-allowed": Explanation(
        N_("{server} does not let {username} send from {sender}."),
        (N_("The From address must be the mailbox that logs in, or an alias of it."),),
        (
            N_("If the sender of the mail is not {address}, send it from {address}."),
            N_("Or add the other address as an alias at your provider."),
        ),
        rehearsal=Fault(Stage.MAIL, reply="553 5.7.1 Sender address rejected: not owned by user"),
    ),
    "mail.sender-unverified": Explanation(
        N_("{sender} or its domain is not verified at the provider."),
        (N_("Relay services take mail only from addresses that you have proved to be yours."),),
        (N_("Verify the address or the domain in the provider's settings."),),
        rehearsal=Fault(Stage.MAIL, reply="550 5.7.1 Sender domain is not verified"),
    ),
    "mail.smtputf8-unsupported": Explanation(
        N_("{server} cannot take addresses with letters such as å, ä, ö before the @."),
        (N_("It lacks the extension SMTPUTF8."),),
        (N_("Use an address with plain letters before the @."),),
        responsible=PROVIDER,
        rehearsal=Fault(Stage.MAIL, Act.WITHHOLD, needs="--to räksmörgås@example.com"),
    ),
    "rcpt.unknown": Explanation(
        N_("{recipient} does not exist."),
        (N_("The address is misspelt, or the mailbox is closed."),),
        (N_("Check the address."),),
        rehearsal=Fault(
            Stage.RCPT, reply="550 5.1.1 Recipient address rejected: User unknown in local recipient table"
        ),
    ),
    "rcpt.relay-denied": Explanation(
        N_("{server} does not pass mail on to {recipient} for you."),
        (N_("It is a server for incoming mail, or it does not let this account send there."),),
        (SETTINGS, N_("See who names which server: `smtpsetup identify {address} --all`.")),
        rehearsal=Fault(Stage.RCPT, reply="554 5.7.1 Relay access denied"),
    ),
    "rcpt.greylisted": Explanation(
        N_("{server} asks to be tried again later (greylisting)."),
        (N_("The recipient's server puts off senders that it sees for the first time."),),
        (N_("Try again in 15 minutes."),),
        rehearsal=Fault(Stage.RCPT, reply="450 4.7.1 Recipient address rejected: Greylisted"),
    ),
    "rcpt.too-many": Explanation(
        N_("There are too many recipients in one message for {server}."),
        (),
        (N_("Send to fewer recipients at a time."),),
        rehearsal=Fault(Stage.RCPT, reply="452 4.5.3 Too many recipients"),
    ),
    "rcpt.mailbox-full": Explanation(
        N_("The mailbox of {recipient} is full."),
        (),
        (N_("Tell the recipient another way, or try again later."),),
        responsible=RECIPIENT,
        rehearsal=Fault(Stage.RCPT, reply="452 4.2.2 The mailbox is full"),
    ),
    "data.too-large": Explanation(
        N_("The message is larger than {server} takes."),
        (N_("Attachments grow by a third on their way."),),
        (N_("Send a smaller file, or a link to it."),),
        rehearsal=Fault(Stage.DATA, reply="552 5.3.4 Message size exceeds fixed limit"),
    ),
    "data.content-rejected": Explanation(
        N_("{server} refused the content of the message."),
        (N_("A filter took it for spam or for a forbidden kind of file."),),
        (N_("Write a real subject and text, and leave out programs and archives."), ASK_PROVIDER),
        rehearsal=Fault(Stage.DATA, reply="554 5.7.1 Message rejected as spam by content filtering"),
    ),
    "data.unauthenticated-domain": Explanation(
        N_("{server} does not believe that the mail comes from {domain}."),
        (N_("The domain's SPF, DKIM or DMARC record does not allow this server to send for it."),),
        (N_("Send through the server of the domain's own provider, or add this one to the domain's SPF record."),),
        responsible=ADMINISTRATOR,
        rehearsal=Fault(Stage.DATA, reply="550 5.7.26 This mail is unauthenticated: neither SPF nor DKIM passed"),
    ),
    "data.line-too-long": Explanation(
        N_("A line of the message is too long: mail allows 998 bytes."),
        (),
        (N_("Break the line, or send the text as an attachment."),),
        rehearsal=Fault(Stage.DATA, reply="500 5.5.2 Line too long"),
    ),
    "data.lost-before-reply": Explanation(
        N_("The connection was lost after the whole message had been sent: it may or may not have been delivered."),
        (N_("The server's answer to the end of the message did not arrive."),),
        (N_("Ask the recipient, or look in the Sent folder, before you send it again."),),
        rehearsal=Fault(Stage.DATA, Act.DROP),
    ),
    "limit.rate": Explanation(
        N_("{server} wants fewer messages or connections in the same time."),
        (),
        (N_("Wait some minutes and send more slowly."),),
        responsible=PROVIDER,
        rehearsal=Fault(Stage.MAIL, reply="421 4.7.0 Too many messages in a short time"),
    ),
    "limit.quota": Explanation(
        N_("The limit of the account at {server} is reached."),
        (N_("Providers allow a certain number of messages or recipients a day."),),
        (N_("Wait until tomorrow, or ask the provider for a higher limit."),),
        responsible=PROVIDER,
        rehearsal=Fault(Stage.DATA, reply="550 5.4.5 Daily sending quota exceeded"),
    ),
    "limit.account-blocked": Explanation(
        N_("The provider has blocked this account from sending."),
        (N_("It is not activated yet, not paid for, or it was taken for a spammer."),),
        (N_("Sign in at the provider's web site; it says there why."), ASK_PROVIDER),
        responsible=PROVIDER,
        rehearsal=Fault(Stage.MAIL, reply="550 5.7.1 Your account is suspended"),
    ),
    "server.client-blocked": Explanation(
        N_("{server} refuses mail from this machine's network address."),
        (N_("The address is on a blocklist; servers for incoming mail block most home and cloud addresses."),),
        (N_("Send through your own provider's server with a login, not directly to the recipient's."),),
        rehearsal=Fault(Stage.GREETING, reply="554 5.7.1 Your address is blocked using a blocklist"),
    ),
    "server.shutting-down": Explanation(
        N_("{server} is closing the connection."),
        (N_("It is being restarted or is overloaded."),),
        (TRY_LATER,),
        responsible=PROVIDER,
        rehearsal=Fault(Stage.MAIL, reply="421 4.3.2 Service closing transmission channel"),
    ),
    "server.temporary": Explanation(
        N_("{server} has trouble at the moment."),
        (N_("The trouble is on the server's side."),),
        (TRY_LATER,),
        responsible=PROVIDER,
        rehearsal=Fault(Stage.MAIL, reply="451 4.3.0 Temporary local problem"),
    ),
    "server.refused": Explanation(
        N_("{server} refused for good."),
        (N_("It gives no reason that smtpsetup knows."),),
        (N_("See the whole conversation: run the command again with `--verbose`."), ASK_PROVIDER, SETTINGS),
        responsible=PROVIDER,
        rehearsal=Fault(Stage.MAIL, reply="554 5.0.0 Transaction failed"),
    ),
    "server.protocol-error": Explanation(
        N_("{server} answered in a way that is not SMTP."),
        (N_("What it said was: {detail}"),),
        (TRY_LATER, ASK_PROVIDER),
        responsible=PROVIDER,
        rehearsal=Fault(Stage.MAIL, reply="what was that?"),
    ),
}
