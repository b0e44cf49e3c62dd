"""Explanations of the error codes of DNS, TCP, TLS and the start of a session."""

from __future__ import annotations

from smtpsetup.core.i18n import N_
from smtpsetup.core.model import Stage
from smtpsetup.diagnosis.explanation import (
    ASK_PROVIDER,
    NETWORK,
    OTHER_PORT,
    OTHER_SERVER,
    PROVIDER,
    TRY_AGAIN,
    TRY_IMPLICIT_TLS,
    TRY_LATER,
    USE_STARTTLS,
    USE_TLS,
    Explanation,
)
from smtpsetup.diagnosis.rehearsal import Act, Certificate, Fault

CONNECTION_EXPLANATIONS: dict[str, Explanation] = {
    "dns.not-found": Explanation(
        N_("There is no server with the name {host}."),
        (N_("The name is misspelt, or the server no longer exists."),),
        (
            N_("Compare it with your provider's help page."),
            N_("See who names which server: `smtpsetup identify {address} --all`."),
        ),
        rehearsal="smtpsetup identify info@nothing.invalid",
    ),
    "dns.temporary": Explanation(
        N_("The address of {host} could not be looked up at the moment."),
        (N_("This machine has no network, or its name server does not answer."),),
        (N_("Check the network connection."), TRY_LATER),
        responsible=NETWORK,
        rehearsal="SMTPSETUP_NAMESERVER=127.0.0.1:1 smtpsetup identify info@example.net",
    ),
    "connect.refused": Explanation(
        N_("{server} refused the connection."),
        (N_("No mail server listens on port {port} there: the port or the host is wrong, or the server is down."),),
        (TRY_AGAIN, OTHER_SERVER),
        rehearsal=Fault(Stage.CONNECT, Act.REFUSE_CONNECTIONS),
    ),
    "connect.timeout": Explanation(
        N_("{server} did not answer."),
        (
            N_("A firewall or the internet provider blocks port {port}; port 25 is blocked nearly everywhere."),
            N_("The host is wrong, or the server is down."),
        ),
        (TRY_LATER, N_("Try from another network."), OTHER_PORT),
        responsible=NETWORK,
        rehearsal=Fault(Stage.CONNECT, Act.CLOG),
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
        responsible=NETWORK,
        rehearsal=Fault(Stage.CONNECT, Act.CLOG, only_tls_port=True, ports=(2465, 2587)),
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
        responsible=NETWORK,
        rehearsal=Fault(Stage.TLS, Act.BAD_CERTIFICATE, certificate=Certificate.OTHER_HOST, needs="--provider one-com"),
    ),
    "connect.unreachable": Explanation(
        N_("There is no way from this machine to {server}."),
        (N_("The machine is offline, or the server has only an IPv6 address and this network has no IPv6."),),
        (N_("Check the network connection."), TRY_LATER),
        responsible=NETWORK,
        rehearsal="smtpsetup configure info@example.com --host 100::1 --password-env HOME",
    ),
    "tls.certificate-expired": Explanation(
        N_("The certificate of {host} is not valid today."),
        (N_("It has expired and was not renewed."), N_("This machine's clock is wrong.")),
        (N_("Check the clock: `date`."), ASK_PROVIDER),
        responsible=PROVIDER,
        rehearsal=Fault(Stage.TLS, Act.BAD_CERTIFICATE, certificate=Certificate.EXPIRED),
    ),
    "tls.hostname-mismatch": Explanation(
        N_("The certificate of {server} is made out to another name than {host}."),
        (
            N_("{host} is an alias, and the certificate carries the mail provider's own name."),
            N_("Something else answers in the host's place."),
        ),
        (N_("Use the name that your provider gives for its server: `--host NAME`."), ASK_PROVIDER),
        responsible=PROVIDER,
        rehearsal=Fault(Stage.TLS, Act.BAD_CERTIFICATE, certificate=Certificate.OTHER_NAME),
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
        responsible=PROVIDER,
        rehearsal=Fault(Stage.TLS, Act.BAD_CERTIFICATE, certificate=Certificate.SELF_SIGNED),
    ),
    "tls.fingerprint-mismatch": Explanation(
        N_("The certificate of {server} is not the one that the account names."),
        (N_("The server has a new certificate."), N_("Something else answers in the host's place.")),
        (N_("Ask whoever runs the server for the new fingerprint. The one seen now is {detail}."),),
        rehearsal=Fault(Stage.TLS, Act.BAD_CERTIFICATE, needs=f"--tls-fingerprint {'00' * 32}"),
    ),
    "tls.protocol-too-old": Explanation(
        N_("{server} speaks only TLS versions that are no longer safe."),
        (N_("The server's software is old: it lacks TLS 1.2."),),
        (ASK_PROVIDER,),
        responsible=PROVIDER,
        rehearsal=Fault(Stage.TLS, Act.OLD_TLS),
    ),
    "tls.not-spoken": Explanation(
        N_("{server} does not speak TLS from the first byte."),
        (N_("The port expects STARTTLS: the connection starts in the clear and is upgraded."),),
        (USE_STARTTLS,),
        rehearsal=Fault(Stage.TLS, Act.WRONG_PROTOCOL, only_tls_port=True),
    ),
    "tls.expected": Explanation(
        N_("{server} waits for TLS from the first byte."),
        (N_("The settings say STARTTLS or no TLS, but this port starts with TLS, as 465 does."),),
        (USE_TLS,),
        rehearsal=Fault(Stage.GREETING, Act.WRONG_PROTOCOL, needs="--security starttls"),
    ),
    "tls.handshake-failed": Explanation(
        N_("The TLS connection with {server} could not be set up."),
        (
            N_(
                "The two sides have no common encryption, or something between them broke the connection off "
                "({detail})."
            ),
        ),
        (TRY_LATER, ASK_PROVIDER),
        responsible=PROVIDER,
        rehearsal=Fault(Stage.TLS, Act.BREAK_HANDSHAKE),
    ),
    "greeting.rejected": Explanation(
        N_("{server} does not want to talk to this machine."),
        (N_("It may be a server for incoming mail, or it does not accept connections from this network."),),
        (N_("See who names which server: `smtpsetup identify {address} --all`."), ASK_PROVIDER),
        responsible=PROVIDER,
        rehearsal=Fault(Stage.GREETING, reply="554 5.3.2 No SMTP service here"),
    ),
    "greeting.not-smtp": Explanation(
        N_("What answers at {server} is not a mail server."),
        (N_("The port belongs to another service, or a network login page answers in its place."),),
        (OTHER_PORT,),
        rehearsal=Fault(Stage.GREETING, reply="HTTP/1.1 400 Bad Request"),
    ),
    "greeting.timeout": Explanation(
        N_("{server} accepted the connection but said nothing."),
        (N_("A firewall stands in the way, or the server is overloaded."),),
        (TRY_LATER, OTHER_PORT),
        responsible=PROVIDER,
        rehearsal=Fault(Stage.GREETING, Act.SILENCE),
    ),
    "ehlo.name-rejected": Explanation(
        N_("{server} does not accept the name that this machine greets it with."),
        (N_("smtpsetup greets with the domain of the sender, {domain}; this server wants another name."),),
        (ASK_PROVIDER,),
        responsible=PROVIDER,
        rehearsal=Fault(Stage.EHLO, reply="504 5.5.2 Helo command rejected: need fully-qualified hostname"),
    ),
    "starttls.not-offered": Explanation(
        N_("{server} offers no TLS, so no password and no mail was sent to it."),
        (N_("It is the wrong port or host."), N_("Something in between removed the offer, to read along.")),
        (TRY_IMPLICIT_TLS, N_("Try from another network."), ASK_PROVIDER),
        responsible=PROVIDER,
        rehearsal=Fault(Stage.STARTTLS, Act.WITHHOLD, needs="--security starttls"),
    ),
    "starttls.refused": Explanation(
        N_("{server} offers TLS but refused to start it."),
        (N_("The server's TLS is set up wrongly."),),
        (TRY_IMPLICIT_TLS, ASK_PROVIDER),
        responsible=PROVIDER,
        rehearsal=Fault(Stage.STARTTLS, reply="501 5.5.1 TLS is not set up", needs="--security starttls"),
    ),
    "starttls.required": Explanation(
        N_("The connection to {server} is not encrypted, so the login was stopped."),
        (N_('The account says `security = "none"`, which is for servers on this machine only.'),),
        (N_("Use `--security starttls` or `--security tls`."),),
        rehearsal=Fault(
            Stage.AUTH,
            reply="530 5.7.0 Must issue a STARTTLS command first",
            offers="PLAIN LOGIN",
            needs="--security none",
        ),
    ),
    "starttls.injection": Explanation(
        N_("{server} sent data behind its STARTTLS reply, which an attacker does to slip in commands."),
        (N_("Something between this machine and the server tampers with the connection."),),
        (N_("Try from another network."), ASK_PROVIDER),
        responsible=NETWORK,
        rehearsal=Fault(Stage.STARTTLS, Act.INJECT, needs="--security starttls"),
    ),
    "connection.lost": Explanation(
        N_("The connection to {server} was lost."),
        (N_("The network, a firewall or the server broke it off."),),
        (TRY_LATER,),
        responsible=NETWORK,
        rehearsal=Fault(Stage.MAIL, Act.DROP),
    ),
}
