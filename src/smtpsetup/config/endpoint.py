"""The base addresses of the APIs that mail can be sent with, and the hosts that their tokens may go to."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from smtpsetup.address.hosts import InvalidHostError, checked_host, is_loopback
from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import Security, Server, TransportKind

if TYPE_CHECKING:
    from smtpsetup.core.oauth_types import Endpoints

_PORT = 443


class Cloud(NamedTuple):
    """One of a vendor's clouds: the host of its API, and that of its sign-in where it differs from the usual one."""

    host: str
    sign_in_host: str = ""


USUAL = {
    TransportKind.GRAPH: "https://graph.microsoft.com/v1.0",
    TransportKind.GMAIL: "https://gmail.googleapis.com",
}
# https://learn.microsoft.com/graph/deployments
_CLOUDS = {
    TransportKind.GRAPH: (
        Cloud("graph.microsoft.com"),
        Cloud("graph.microsoft.us", "login.microsoftonline.us"),
        Cloud("dod-graph.microsoft.us", "login.microsoftonline.us"),
        Cloud("microsoftgraph.chinacloudapi.cn", "login.partner.microsoftonline.cn"),
    ),
    TransportKind.GMAIL: (Cloud("gmail.googleapis.com"),),
}
_USUAL_SIGN_IN_HOST = "login.microsoftonline.com"


def server_of(endpoint: str) -> Server:
    """The server of an API's base address. Raises ValueError, with a text in the user's language."""
    wanted = _("the endpoint must be an address such as https://graph.microsoft.com/v1.0")
    try:
        parts = urlsplit(endpoint)
        port = parts.port or _PORT
    except ValueError:
        raise ValueError(wanted) from None
    is_plain = re.fullmatch(r"[!-~]+", endpoint) and not (parts.query or parts.fragment or "@" in parts.netloc)
    if parts.scheme != "https" or not parts.hostname or not is_plain or parts.netloc.endswith(":"):
        raise ValueError(wanted)
    try:
        return Server(checked_host(parts.hostname), port, Security.TLS)
    except InvalidHostError as error:
        raise ValueError(str(error).rstrip(".")) from error


def is_vendors(kind: TransportKind, host: str) -> bool:
    """Whether a host is one of the vendor's own, or this machine: others get no token without `--accept-host`."""
    return is_loopback(host) or any(host == cloud.host for cloud in _CLOUDS[kind])


def of_cloud(endpoints: Endpoints, host: str) -> Endpoints:
    """The sign-in endpoints and scopes of the cloud that the API's host belongs to (Microsoft's national clouds)."""
    cloud = next((cloud for cloud in _CLOUDS[TransportKind.GRAPH] if cloud.host == host), None)
    if cloud is None or not cloud.sign_in_host:
        return endpoints
    usual = _CLOUDS[TransportKind.GRAPH][0].host

    def moved(url: str) -> str:
        return url.replace(_USUAL_SIGN_IN_HOST, cloud.sign_in_host)

    return endpoints._replace(
        token_endpoint=moved(endpoints.token_endpoint),
        authorization_endpoint=moved(endpoints.authorization_endpoint),
        device_authorization_endpoint=moved(endpoints.device_authorization_endpoint),
        scopes=tuple(scope.replace(usual, cloud.host) for scope in endpoints.scopes),
        app_scope=endpoints.app_scope.replace(usual, cloud.host),
    )
