"""The texts of `smtpsetup help TOPIC`: what a task takes from beginning to end, offline."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rich.console import Group
from rich.text import Text

from smtpsetup import DOCUMENTATION
from smtpsetup.core.i18n import N_
from smtpsetup.core.i18n import gettext as _
from smtpsetup.render.human import bullets, fields, indented, more, show
from smtpsetup.render.prose import prose

if TYPE_CHECKING:
    from rich.console import RenderableType


class Topic(NamedTuple):
    """A topic: one sentence on what it is about, the steps, what else to know, and the document that says all."""

    summary: str
    steps: tuple[str, ...]
    notes: tuple[str, ...]
    document: str

    def translated(self) -> Topic:
        """The texts in the user's language."""
        return Topic(
            _(self.summary), tuple(map(_, self.steps)), tuple(map(_, self.notes)), f"{DOCUMENTATION}/{self.document}"
        )


TOPICS = {
    "oauth2": Topic(
        N_("Signing in without a password, for providers that take none, such as Outlook.com."),
        (
            N_("See what your provider takes: `smtpsetup identify ADDRESS`. An app password is less work than OAuth2."),
            N_(
                "Get a client id from the provider, once; it says which program signs in. `smtpsetup configure "
                "ADDRESS --auth oauth2` shows the steps for Microsoft and Google."
            ),
            N_("Sign in: with a code on any device, or in a browser. The account is saved once a login has worked."),
            N_(
                "Later accounts: put the client id in config.toml, as `client_id` in [oauth2.microsoft] or "
                "[oauth2.google], or give `--client-id ID`."
            ),
        ),
        (
            N_("A sign-in works from cron, too. At Microsoft it expires after 90 days without use."),
            N_("Sign in again: `smtpsetup login ACCOUNT`. Forget it: `smtpsetup logout ACCOUNT`."),
            N_("Another program can print the access token: `--token-command CMD`."),
            N_(
                "Where SMTP is off or blocked, mail can go over HTTPS: `smtpsetup configure ADDRESS --transport graph` "
                "(Microsoft) or `gmail`."
            ),
            N_("On a server, a program can sign in by itself, without a person: `--app-only`."),
            N_("In a company, an administrator may have to agree first; the error then shows the address to open."),
        ),
        "oauth2.md",
    ),
    "cron": Topic(
        N_("Sending from cron and scripts, when nobody is there."),
        (
            N_(
                "Set up the account and try it as cron would run it: `smtpsetup configure ADDRESS --unattended`. "
                "On a server without a keyring, add `--password-stdin --password-file FILE`."
            ),
            N_('Send from the script: `echo "$TEXT" | smtpsetup send -s SUBJECT RECIPIENT`. Success is silent.'),
            N_("Let waiting mail be sent every minute: `smtpsetup outbox schedule --install`."),
            N_("Check everything, after each change of the machine: `smtpsetup doctor`."),
        ),
        (
            N_("A mail that cannot be sent now waits in the outbox, and the exit code is 0: `smtpsetup outbox`."),
            N_("75 means that the same command may work later; each other exit code but 0 needs a person."),
            N_("cron finds programs in few places: use the whole path that `command -v smtpsetup` prints."),
            N_("cron's own MAILTO, PHP, git and mutt send with `smtpsetup-sendmail` in place of sendmail."),
            N_("A keyring is open only while somebody is logged in; see `smtpsetup help secrets`."),
        ),
        "sending.md",
    ),
    "relay": Topic(
        N_("Letting a program send that cannot sign in itself: an order program, a printer, a NAS."),
        (
            N_("Set up the account that the mail comes from, and try it: `smtpsetup configure`, `smtpsetup test`."),
            N_("Name the program and get its password, shown this once: `smtpsetup relay add-client NAME`."),
            N_("Start the relay: `smtpsetup relay`. At every start of the machine: `smtpsetup relay --install`."),
            N_("Enter in the program what `smtpsetup card` shows: server, port, user name."),
        ),
        (
            N_("It listens on 127.0.0.1 only. For devices in the network: `smtpsetup relay --host 0.0.0.0 --tls`."),
            N_("A program that somebody else hosts cannot reach it: give that the provider's own settings."),
            N_("Is it well? `smtpsetup relay --status`. What waits: `smtpsetup outbox`."),
        ),
        "relay.md",
    ),
    "secrets": Topic(
        N_("Where the password is, and what can read it."),
        (
            N_("At a desktop, leave it in the keyring: it is open while you are logged in."),
            N_("On a server, use a file that only you can read: `smtpsetup login ACCOUNT --password-file FILE`."),
            N_("To write that file: `--password-stdin --password-file FILE`, with the password on standard input."),
            N_("Or let a command print it each time: `--password-command 'pass show mail'`."),
            N_("In a service of systemd, use a credential: `--systemd-credential NAME`."),
        ),
        (
            N_("Who has your user account can read an open keyring; that is how keyrings work."),
            N_("No password is an argument, in a log or in a message. On the wire it goes through verified TLS only."),
            N_("See where it is: `smtpsetup accounts show ACCOUNT`. Delete it: `smtpsetup logout ACCOUNT`."),
        ),
        "security.md",
    ),
}


def topic(one: Topic) -> None:
    """Print a topic, already translated."""
    parts: list[RenderableType] = [prose(one.summary, "bold"), Text(), indented(bullets("{number}.", one.steps))]
    parts += [Text(), indented(bullets("•", one.notes)), Text(), prose(more(one.document))]
    show(Group(*parts))


def topics() -> None:
    """Print which topics there are."""
    rows = fields((prose(f"`smtpsetup help {name}`"), prose(_(one.summary))) for name, one in TOPICS.items())
    show(Group(rows, Text(), prose(_("An error: `smtpsetup explain CODE`. A command: `smtpsetup COMMAND --help`."))))
