"""The record of an error code: what it means to a person, the way out, who can fix it, and how it is rehearsed.

Texts are marked for the catalogue and translated when they are shown. Between braces: `server` (host:port), `host`,
`port`, `username`, `domain` (of the sender), `account`, `address`, `configure` (the command that changes it), `sign_in`
(the one that signs in anew), `place` (of the password), `detail` (technical).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from smtpsetup.core.i18n import N_

if TYPE_CHECKING:
    from smtpsetup.diagnosis.rehearsal import Fault

YOU = N_("you")
ADMINISTRATOR = N_("your administrator")
PROVIDER = N_("whoever runs the server")
NETWORK = N_("whoever runs the network")
RECIPIENT = N_("the recipient")


class Explanation(NamedTuple):
    """One sentence on what happened, the causes it can have (most likely first), and what to do, in order.

    `responsible` is who can fix the cause. `rehearsal` is the fault of the sandbox server that produces the error, or a
    command that does; None if only a real provider can.
    """

    message: str
    causes: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()
    responsible: str = YOU
    rehearsal: Fault | str | None = None


SETTINGS = N_("Look at the settings: `smtpsetup accounts show {account}`.")
TRY_LATER = N_("Try again later; the same command may work then.")
NEW_SECRET = N_("Enter the password again: `smtpsetup login {account}`.")
ASK_PROVIDER = N_("Ask whoever runs the server, and show them the message above.")

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
