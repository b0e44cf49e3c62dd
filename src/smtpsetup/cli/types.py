"""Parameter types that check a value when the command line is parsed, or when a person types it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from smtpsetup.address.hosts import checked_host
from smtpsetup.cli.state import WholeNumberType
from smtpsetup.core.i18n import gettext as _
from smtpsetup.sending.drafts import read_failed

if TYPE_CHECKING:
    from collections.abc import Callable


class PortType(WholeNumberType):
    """A port number."""

    name = "port"

    def __init__(self) -> None:
        super().__init__(1, 65535)


class SecurityType(click.Choice):  # type: ignore[type-arg]  # click 8.1 has no type parameter
    """How the connection is protected, in any letter case; SSL is what mail programs call implicit TLS."""

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """One of the choices."""
        lowered = value.strip().lower()
        found: str = super().convert("tls" if lowered in {"ssl", "ssl/tls"} else lowered, param, ctx)
        return found


class CheckedType(click.ParamType):  # type: ignore[type-arg]  # click 8.1 has no type parameter
    """A text that `check` returns in its normal form, or refuses with a ValueError whose text is for people."""

    def __init__(self, name: str, check: Callable[[str], str]) -> None:
        self.name = name
        self._check = check

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The text in its normal form."""
        try:
            return self._check(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def _fingerprint(value: str) -> str:
    """A SHA-256 fingerprint as 64 hexadecimal digits."""
    from smtpsetup.net.tls import normalised_fingerprint  # loads ssl

    try:
        return normalised_fingerprint(value)
    except ValueError as error:
        raise ValueError(_("A SHA-256 fingerprint has 64 hexadecimal digits.")) from error


def _ca_file(value: str) -> str:
    """The absolute path of a file of CA certificates that OpenSSL can read."""
    import ssl  # needed for this option only

    path = Path(value).expanduser().absolute()
    try:
        ssl.create_default_context(cafile=str(path))
    except ssl.SSLError as error:
        reason = _("it holds no certificate in PEM form")
        raise ValueError(_("{path} cannot be used: {reason}.").format(path=path, reason=reason)) from error
    except OSError as error:
        raise read_failed(str(path), error) from error
    return str(path)


def _proxy(value: str) -> str:
    """The URL of a proxy, or `none`. It must hold no password, since arguments can be seen by others."""
    from smtpsetup.net import proxy  # needed for this option only

    if proxy.parsed(value).login:
        raise ValueError(_("A password is no argument: write the proxy into config.toml, as `proxy` of the account."))
    return value


PORT = PortType()
PROXY = CheckedType("url", _proxy)
HOST = CheckedType("host", checked_host)
FINGERPRINT = CheckedType("sha256", _fingerprint)
CA_FILE = CheckedType("file", _ca_file)
