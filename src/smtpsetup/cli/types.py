"""Parameters that are checked where they are typed."""

from __future__ import annotations

from pathlib import Path

import click

from smtpsetup.candidates import InvalidHostError, checked_host
from smtpsetup.i18n import gettext as _

PORT = click.IntRange(1, 65535)


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
        from smtpsetup.transport.tls import normalised_fingerprint  # noqa: PLC0415  ssl, only where it is used

        try:
            return normalised_fingerprint(value)
        except ValueError:
            self.fail(_("A SHA-256 fingerprint has 64 hexadecimal digits."), param, ctx)


class CaFileType(click.ParamType[str]):
    """A file with certificates of authorities, as an absolute path."""

    name = "file"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The absolute path, once OpenSSL can read it."""
        import ssl  # noqa: PLC0415  only where it is used

        path = Path(value).expanduser().absolute()
        try:
            ssl.create_default_context(cafile=str(path))
        except OSError as error:
            reason = _("it holds no certificate in PEM form") if isinstance(error, ssl.SSLError) else error.strerror
            self.fail(_("{path} cannot be used: {reason}.").format(path=path, reason=reason), param, ctx)
        return str(path)
