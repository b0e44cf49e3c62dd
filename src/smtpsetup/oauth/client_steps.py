"""How to get a client id at the providers that most people sign in with (docs/oauth2.md), and what it looks like."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from smtpsetup.core.i18n import N_
from smtpsetup.core.i18n import gettext as _

if TYPE_CHECKING:
    from smtpsetup.core.oauth_types import Endpoints

# The names of menus and buttons are those of the providers' English pages.
_STEPS = {
    "microsoft": (
        N_(
            "Sign in at https://entra.microsoft.com. A private account needs a free Azure sign-up first: "
            "https://azure.microsoft.com/free."
        ),
        N_(
            'Choose "App registrations", "New registration". Name: smtpsetup. Account types: any organizational '
            'directory and personal Microsoft accounts. Redirect URI: "Mobile and desktop applications", '
            "http://localhost"
        ),
        N_('Under "Authentication", set "Allow public client flows" to Yes.'),
        N_('Under "API permissions", add "Microsoft Graph", "Delegated permissions": {permissions}.'),
        N_('"Overview" shows the "Application (client) ID": paste it here.'),
    ),
    "google": (
        N_("Make a project at https://console.cloud.google.com/projectcreate."),
        N_("Enter a name and your own address at https://console.cloud.google.com/auth/branding."),
        N_('In "Testing" a sign-in ends in 7 days: publish the app at https://console.cloud.google.com/auth/audience.'),
        N_('Choose "Create client", "Desktop app" at https://console.cloud.google.com/auth/clients.'),
        N_("Paste the client id here, then the client secret."),
    ),
}

_GMAIL_API = "https://www.googleapis.com/auth/gmail.send"
_FORMS = {
    "microsoft": (
        re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE),
        "11111111-2222-3333-4444-555555555555",
    ),
    "google": (re.compile(r"[0-9a-z-]+\.apps\.googleusercontent\.com"), "1234-abcd.apps.googleusercontent.com"),
}


def client_steps(endpoints: Endpoints) -> tuple[str, ...]:
    """The steps to a client id at this provider, each with its address; none where they are not known."""
    names = (scope.rpartition("/")[2] for scope in endpoints.scopes if scope != "offline_access")
    permissions = ", ".join(f'"{name}"' for name in names)
    steps = [_(step).format(permissions=permissions) for step in _STEPS.get(endpoints.client, ())]
    if _GMAIL_API in endpoints.scopes:
        steps.insert(1, _("Enable the Gmail API: https://console.cloud.google.com/apis/library/gmail.googleapis.com"))
    return tuple(steps)


def wrong_form(endpoints: Endpoints, client_id: str) -> str:
    """A sentence that a client id does not have the form of the provider's; `""` where it has, or none is known."""
    if endpoints.client in _FORMS and not endpoints.issuer:
        form, example = _FORMS[endpoints.client]
        if not form.fullmatch(client_id):
            return _("That is no client id; it looks like {example}.").format(example=example)
    return "" if re.fullmatch(r"[!-~]+", client_id) else _("A client id has only plain letters, digits and signs.")
