"""Where the outbox is: on this machine, or in a PostgreSQL that several machines share."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

from smtpsetup.config.secret_source import SecretSource, Store
from smtpsetup.core.i18n import gettext as _

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMES = ("postgresql", "postgres")
VARIABLE = "SMTPSETUP_OUTBOX"
KEEP_SENT_DAYS = 14.0
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
# of libpq's parameters (PostgreSQL, "Parameter Key Words") those that neither hold a secret nor weaken TLS
_PARAMETERS = (
    "host", "hostaddr", "port", "dbname", "user", "passfile", "service", "sslmode", "sslrootcert", "sslcert", "sslkey",
    "sslcrl", "target_session_attrs", "load_balance_hosts", "connect_timeout", "krbsrvname", "gssencmode",
    "channel_binding", "require_auth",
)  # fmt: skip
_VERIFIED = "verify-full"


class OutboxSettings(NamedTuple):
    """The shared outbox of a configuration; without a `url` the outbox is in the state directory.

    `secret` is where the password of the database is, None where libpq finds it (passfile, service, PGPASSWORD). `key`
    is where the key is kept that protects shared sign-ins. Sent mail is listed for `keep_sent` days.
    """

    url: str = ""
    secret: SecretSource | None = None
    key: SecretSource = SecretSource(Store.KEYRING)
    keep_sent: float = KEEP_SENT_DAYS

    @property
    def is_shared(self) -> bool:
        """Whether it is in PostgreSQL."""
        return bool(self.url)

    def completed(self, shared: OutboxSettings) -> OutboxSettings:
        """These settings of a user, with those of the machine for what they do not say."""
        return OutboxSettings(
            self.url or shared.url,
            self.secret or shared.secret,
            shared.key if self.key == OutboxSettings().key else self.key,
            shared.keep_sent if self.keep_sent == KEEP_SENT_DAYS else self.keep_sent,
        )

    @property
    def key_name(self) -> str:
        """The user name of the key in a keyring."""
        return f"key of {self.shown}"

    @property
    def on_this_machine(self) -> OutboxSettings:
        """The outbox in the state directory, which keeps mail while the shared one is away."""
        return self._replace(url="")

    @property
    def shown(self) -> str:
        """The URL without its parameters, to show."""
        from urllib.parse import urlsplit  # only for a shared outbox

        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}{parts.path}"


ON_THIS_MACHINE = OutboxSettings()
"""The outbox in the state directory."""


def outbox_settings(table: Mapping[str, Any]) -> OutboxSettings:
    """The settings in the configuration's table, with the URL of the environment before that of the file.

    Raises ValueError with a text in the user's language.
    """
    url = os.environ.get(VARIABLE, "") or table.get("outbox", "")
    if url:
        parameters(url)
    secret, key = table.get("outbox_secret"), table.get("outbox_key")
    keep_sent = table.get("keep_sent", KEEP_SENT_DAYS)
    if isinstance(keep_sent, bool) or not isinstance(keep_sent, int | float) or not 0 <= keep_sent <= 36500:  # noqa: PLR2004  a hundred years
        raise ValueError(_("{key} must be a number of days").format(key="keep_sent"))
    return OutboxSettings(
        url,
        None if secret is None else SecretSource.from_table(secret),
        SecretSource(Store.KEYRING) if key is None else SecretSource.from_table(key),
        float(keep_sent),
    )


def parameters(url: str) -> dict[str, str]:
    """The connection's parameters in a URL, as libpq names them, with verified TLS unless the server is local.

    Raises ValueError with a text in the user's language, without the URL's password.
    """
    from urllib.parse import parse_qsl, unquote, urlsplit  # only for a shared outbox

    try:
        parts = urlsplit(url)
        query = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        raise ValueError(_("the URL of the outbox cannot be read")) from None
    if parts.scheme not in SCHEMES:
        raise ValueError(_("the URL of the outbox must begin with postgresql://"))
    user, hosts, ports = _authority(parts.netloc)
    given = {name: value for name, value in query if value}
    if "@" in parts.path or "\0" in url or "%00" in url:  # a password with a slash
        raise ValueError(_("the URL of the outbox cannot be read"))
    if parts.fragment or any(name not in _PARAMETERS for name, _value in query):
        wrong = next((name for name, _value in query if name not in _PARAMETERS), "#")
        if "password" in wrong:
            raise ValueError(_no_password())
        raise ValueError(_("the URL of the outbox has a parameter that is not allowed: {name}").format(name=wrong))
    found = {"host": hosts, "port": ports, "user": unquote(user), "dbname": unquote(parts.path.removeprefix("/"))}
    found = {name: value for name, value in found.items() if value.strip(",")} | given
    if (
        not all(one.isdigit() for one in found.get("port", "0").split(",") if one)
        or not found.get("connect_timeout", "1").strip("0").isdigit()
    ):
        raise ValueError(_("the URL of the outbox cannot be read"))
    return found | _tls(found)


def _authority(netloc: str) -> tuple[str, str, str]:
    """The user, the hosts and the ports, each list separated by commas as libpq wants them."""
    from urllib.parse import unquote  # as above

    before, _at, after = netloc.rpartition("@")
    if ":" in before:
        raise ValueError(_no_password())
    hosts, ports = [], []
    for one in after.split(","):
        if one.startswith("["):
            host, _bracket, rest = one[1:].partition("]")
            port = rest.removeprefix(":")
        else:
            host, _colon, port = one.partition(":")
        if port and not port.isdigit():
            raise ValueError(_("the URL of the outbox cannot be read"))
        hosts.append(unquote(host))
        ports.append(port)
    return before, ",".join(hosts), ",".join(ports) if any(ports) else ""


def _no_password() -> str:
    return _(
        "the URL of the outbox has a password; put that into ~/.pgpass (mode 0600), or name a store in outbox_secret"
    )


def _tls(found: dict[str, str]) -> dict[str, str]:
    """The TLS that the connection must have. Raises ValueError where the URL wants less."""
    if not is_remote(found):
        return {}
    if found.get("sslmode", _VERIFIED) != _VERIFIED:
        raise ValueError(
            _("the outbox is on another machine, so sslmode must be verify-full, not {mode}").format(
                mode=found["sslmode"]
            )
        )
    own = os.path.expanduser("~/.postgresql/root.crt")
    has_own = "sslrootcert" in found or "PGSSLROOTCERT" in os.environ or os.path.exists(own)
    return {"sslmode": _VERIFIED} | ({} if has_own else {"sslrootcert": "system"})


def is_remote(found: Mapping[str, str]) -> bool:
    """Whether any of the connection's hosts may be another machine. What a service names is not known before."""
    if "service" in found or "PGSERVICE" in os.environ:
        return True
    hosts = found.get("host") or os.environ.get("PGHOST", "")
    addresses = found.get("hostaddr") or os.environ.get("PGHOSTADDR", "")
    named = [one for one in (*hosts.split(","), *addresses.split(",")) if one]
    return any(not one.startswith(("/", "@")) and one.lower() not in _LOOPBACK for one in named)
