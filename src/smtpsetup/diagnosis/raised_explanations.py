"""What the codes mean whose errors are raised with texts of their own, which depend on where that happens."""

from __future__ import annotations

from smtpsetup.core.i18n import N_

RAISED = {
    "config.no-account": N_(
        "No account of that name is configured, or several are and none is the default. The message names them."
    ),
    "config.invalid": N_(
        "The configuration, the provider table or what was typed has a fault, told by file, line or key. Exit"
        " code 2 for wrong use of the command line, 65 for bad data such as a line break in a header, 66 for "
        "an input file that is missing, 74 where reading or writing failed."
    ),
    "config.permissions": N_(
        "The configuration or the provider table belongs to someone else, or others may change it. The "
        "message has the command that mends it."
    ),
    "config.address-malformed": N_("This is no mail address. A caret stands under the fault."),
    "config.no-settings-found": N_(
        "Nobody tells who runs the domain's mail, or the provider is known and its settings are not "
        "(`result.provider` names it). `identify --all` shows what each source said. Name the provider "
        "(`--provider one-com`) or the server (`--host`)."
    ),
    "config.provider-without-smtp": N_(
        "The provider lets no other program send. Use an address elsewhere, or a relay service."
    ),
    "secret.missing": N_(
        "There is no password in the place that the account names, or what is there cannot be one. Save it "
        "again: `smtpsetup login ACCOUNT`."
    ),
    "secret.keyring-unavailable": N_(
        "There is no keyring here: servers, containers, ssh and cron have no desktop session. Keep the "
        "password elsewhere: `smtpsetup login ACCOUNT --password-file FILE`."
    ),
    "secret.keyring-locked": N_(
        "The keyring is closed until you log in with your password. Unlock it, or keep the password elsewhere."
    ),
    "secret.command-failed": N_(
        "The command that prints the password failed; its own complaint stands in the message. It runs in the"
        " home directory, without a shell."
    ),
    "secret.file-permissions": N_("Others may read the password file. The message has the command that mends it."),
    "outbox.unavailable": N_(
        "The outbox cannot be read or written: no room, no permission, or no place for it. The message has "
        "the reason and the directory. For a shared outbox (PostgreSQL) the exit code is 75: the database "
        "cannot be reached, refuses the login, is a read-only replica or has no room. Meanwhile mail is kept on "
        "this machine, and handed on when the database is back."
    ),
    "outbox.schema": N_(
        "The tables of the shared outbox are missing, or another version of smtpsetup has made them. Make them "
        "or bring them up to date with `smtpsetup outbox init`; where a newer smtpsetup has made them, install "
        "it on this machine, too."
    ),
    "outbox.damaged": N_(
        "The outbox, or a mail in it, is not what was put there. Save what can be saved: `smtpsetup outbox "
        "repair`. It tells what it could not save, and which mails have changed. Look at those with "
        "`smtpsetup outbox show NUMBER` before you let them be sent: `smtpsetup outbox retry NUMBER`."
    ),
    "relay.exposed": N_(
        "The relay would listen where others can reach it, and passwords would cross the network in clear "
        "text. Leave `--host` out, or add `--tls`, or name the devices that cannot log in: `smtpsetup relay "
        "add-client NAME --net 192.168.1.20`."
    ),
    "internal.bug": N_(
        "A mistake in smtpsetup itself. Report it with the command and the message; `-v` adds where it happened."
    ),
}
"""By error code, marked for the catalogue."""
