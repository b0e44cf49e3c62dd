"""Parameters that are checked where they are typed."""

from __future__ import annotations

from pathlib import Path

import click

from smtpsetup.address.hosts import InvalidHostError, checked_host
from smtpsetup.cli.state import WholeNumberType
from smtpsetup.core.i18n import gettext as _
from smtpsetup.sending.drafts import read_failed


class PortType(WholeNumberType):
    """A port number."""

    name = "port"

    def __init__(self) -> None:
        super().__init__(1, 65535)


class SecurityType(click.Choice[str]):
    """How the connection is protected, in any letter case; SSL is what mail programs call TLS from the start."""

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """One of the choices."""
        lowered = value.strip().lower()
        return super().convert("tls" if lowered in {"ssl", "ssl/tls"} else lowered, param, ctx)


PORT = PortType()


class HostType(click.ParamType[str]):
    """A host name or IP address."""

    name = "host"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The host as A-labels."""
        try:
            return checked_host(value)
        except InvalidHostError as error:
            self.fail(str(error), param, ctx)


class FingerprintType(click.ParamType[str]):
    """A SHA-256 fingerprint of a certificate."""

    name = "sha256"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """64 hexadecimal digits."""
        from smtpsetup.net.tls import normalised_fingerprint  # ssl, only where it is used

        try:
            return normalised_fingerprint(value)
        except ValueError:
            self.fail(_("A SHA-256 fingerprint has 64 hexadecimal digits."), param, ctx)


class CaFileType(click.ParamType[str]):
    """A file with certificates of authorities, as an absolute path."""

    name = "file"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The absolute path, once OpenSSL can read it."""
        import ssl  # only where it is used

        path = Path(value).expanduser().absolute()
        try:
            ssl.create_default_context(cafile=str(path))
        except ssl.SSLError:
            self.fail(
                _("{path} cannot be used: {reason}.").format(
                    path=path, reason=_("it holds no certificate in PEM form")
                ),
                param,
                ctx,
            )
        except OSError as error:
            raise read_failed(str(path), error) from error
        return str(path)
