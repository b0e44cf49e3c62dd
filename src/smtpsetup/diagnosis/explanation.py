"""The explanation of an error code: what happened, causes, hints, who can fix it, and how it is rehearsed.

Texts are marked for the catalogue and translated when they are shown. Their placeholders: `server` (host:port),
`host`, `port`, `username`, `domain` (of the sender), `account`, `address`, `configure` (the command that changes the
account), `sender` and `recipient` (of the mail), `sign_in` (the command that signs in again), `place` (of the secret),
`docs` (where the documents are), `detail` (technical).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from smtpsetup.core.i18n import N_
from smtpsetup.core.i18n import gettext as _

if TYPE_CHECKING:
    from collections.abc import Mapping

    from smtpsetup.diagnosis.rehearsal import Fault

YOU = N_("you")
ADMINISTRATOR = N_("your administrator")
PROVIDER = N_("whoever runs the server")
NETWORK = N_("whoever runs the network")
RECIPIENT = N_("the recipient")


class Explanation(NamedTuple):
    """What happened in one sentence, its possible causes (most likely first), and what to do, in order.

    `responsible` is who can fix the cause. `rehearsal` is the fault of the sandbox server that produces the error, or a
    command that does; None if only a real provider can.
    """

    message: str
    causes: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()
    responsible: str = YOU
    rehearsal: Fault | str | None = None

    def translated(self, values: Mapping[str, object]) -> Explanation:
        """The texts in the user's language, with these values in place of the placeholders."""
        return self._replace(
            message=_(self.message).format(**values),
            causes=tuple(_(cause).format(**values) for cause in self.causes),
            hints=tuple(_(hint).format(**values) for hint in self.hints),
            responsible=_(self.responsible),
        )


SETTINGS = N_("Look at the settings: `smtpsetup accounts show {account}`.")
TRY_AGAIN = N_("Try again in some minutes.")
"""For a server that is known to have worked."""
TRY_LATER = N_("Try again later; the same command may work then.")
NEW_SECRET = N_("Enter the password again: `smtpsetup login {account}`.")
ASK_PROVIDER = N_("Ask whoever runs the server, and show them the message above.")

USE_STARTTLS = N_("Use STARTTLS there: `{configure} --port {port} --security starttls`.")
USE_TLS = N_("Use TLS there: `{configure} --port {port} --security tls`.")
OTHER_SERVER = N_("If the server has moved, say where to: `{configure} --host HOST --port 465 --security tls`.")
OTHER_PORT = N_(
    "Try the other port: `{configure} --port 465 --security tls`, or `{configure} --port 587 --security starttls`."
)
TRY_IMPLICIT_TLS = N_("Try TLS from the first byte: `{configure} --port 465 --security tls`.")
FOR_UNSAVED = {
    OTHER_SERVER: N_("Use 465 with `--security tls` or 587 with `--security starttls`, as your provider says."),
    OTHER_PORT: N_("Try the other port: 465 with `--security tls`, or 587 with `--security starttls`."),
    TRY_IMPLICIT_TLS: N_("Try TLS from the first byte: `--port 465 --security tls`."),
    SETTINGS: "",
    TRY_AGAIN: N_("Check the host and the port, which is usually 465 or 587. Nothing was saved."),
    NEW_SECRET: N_("Run the command again; another user name is given with `--username NAME`. Nothing was saved."),
    USE_STARTTLS: N_("Run the command again with `--port {port} --security starttls`."),
    USE_TLS: N_("Run the command again with `--port {port} --security tls`."),
}
"""The hints to give instead while an account is being set up; `""` for none."""
EXPLAINED = {
    NEW_SECRET: N_(
        "Enter the password again: `smtpsetup login {account}`, or `{configure}` where the account is not saved yet."
    ),
}
"""The hints to give instead where it is not known whether the account is saved (`smtpsetup explain`)."""
SECRET_ELSEWHERE = N_("Change the password where the account takes it from: {place}.")
"""Instead of NEW_SECRET, for an account whose password smtpsetup only reads."""
TOKEN_ELSEWHERE = N_("Sign in again with the program that gives the token: {place}.")
"""Instead of `{sign_in}`, for an account whose access token another program gives."""
