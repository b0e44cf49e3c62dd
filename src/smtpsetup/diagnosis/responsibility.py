"""Who can mend a failure, by its error code: what to do depends on whose it is."""

from __future__ import annotations

from smtpsetup.core.i18n import N_

YOU = N_("you")
ADMINISTRATOR = N_("your administrator")
PROVIDER = N_("whoever runs the server")
NETWORK = N_("whoever runs the network")
RECIPIENT = N_("the recipient")

_MENDERS = {
    "connect.refused": YOU,
    "connect": NETWORK,
    "dns.not-found": YOU,
    "dns": NETWORK,
    "tls.not-spoken": YOU,
    "tls.expected": YOU,
    "tls.fingerprint-mismatch": YOU,
    "tls": PROVIDER,
    "greeting.not-smtp": YOU,
    "greeting": PROVIDER,
    "ehlo": PROVIDER,
    "starttls.required": YOU,
    "starttls.injection": NETWORK,
    "starttls": PROVIDER,
    "auth.disabled-by-admin": ADMINISTRATOR,
    "auth.admin-approval-required": ADMINISTRATOR,
    "auth.temporary": PROVIDER,
    "auth.no-common-mechanism": PROVIDER,
    "mail.smtputf8-unsupported": PROVIDER,
    "auth.not-offered": YOU,
    "auth": YOU,
    "mail": YOU,
    "rcpt.mailbox-full": RECIPIENT,
    "rcpt": YOU,
    "data.unauthenticated-domain": ADMINISTRATOR,
    "data": YOU,
    "limit": PROVIDER,
    "server.client-blocked": YOU,
    "server": PROVIDER,
    "connection": NETWORK,
}


def mender(code: str, *, is_saved: bool = False) -> str:
    """Who can change that: a text to translate, by the code or its stage; `""` where it is nobody in particular.

    With `is_saved` the account has worked before, so that a server that refuses connections is not a typing mistake.
    """
    if code == "connect.refused" and is_saved:
        return PROVIDER
    return _MENDERS.get(code) or _MENDERS.get(code.partition(".")[0], "")
