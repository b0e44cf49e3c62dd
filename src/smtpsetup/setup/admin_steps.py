"""What an administrator does once, so that a program may sign in by itself and send from one mailbox.

https://learn.microsoft.com/exchange/permissions-exo/application-rbac,
https://learn.microsoft.com/exchange/client-developer/legacy-protocols/how-to-authenticate-an-imap-pop-smtp-application-by-using-oauth,
https://developers.google.com/identity/protocols/oauth2/service-account#delegatingauthority
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from smtpsetup.core.i18n import gettext as _
from smtpsetup.core.model import TransportKind
from smtpsetup.core.oauth_types import Grant

if TYPE_CHECKING:
    from smtpsetup.config.account import Account
    from smtpsetup.core.oauth_types import TokenClient


class AdminStep(NamedTuple):
    """A step in words, and the commands of it for PowerShell."""

    text: str
    commands: tuple[str, ...] = ()


def admin_steps(account: Account, client: TokenClient, *, client_number: str = "") -> tuple[AdminStep, ...]:
    """The steps at Microsoft or Google, with the account's values; none at another provider.

    `client_number` is the client id of a Google service account, which its key file has.
    """
    if client.grant is Grant.JWT:
        return _google(account, client, client_number)
    if "/oauth2/v2.0/token" not in client.token_endpoint:
        return ()
    return _graph(account, client) if account.transport is TransportKind.GRAPH else _smtp(account, client)


def _word(text: str) -> str:
    """A text as one word of PowerShell."""
    return text if re.fullmatch(r"[\w.@+-]+", text, re.ASCII) else "'" + text.replace("'", "''") + "'"


def _quoted(text: str) -> str:
    """A text in quotes of PowerShell, in which nothing is replaced."""
    if re.search(r'["`$“”„]', text):
        return "'" + text.replace("'", "''") + "'"
    return f'"{text}"'


def _service_principal(client: TokenClient) -> AdminStep:
    text = _(
        "Make the program known to Exchange. OBJECT_ID is the one under Enterprise applications, not the one under App "
        "registrations."
    )
    name = '-DisplayName "smtpsetup"'
    commands = (
        "Connect-ExchangeOnline",
        f"New-ServicePrincipal -AppId {_word(client.client_id)} -ObjectId OBJECT_ID {name}",
    )
    return AdminStep(text, commands)


def _graph(account: Account, client: TokenClient) -> tuple[AdminStep, ...]:
    address = account.address
    escaped, app = address.replace("'", "''"), _word(client.client_id)
    scope, condition = (_quoted(text) for text in (f"smtpsetup {address}", f"PrimarySmtpAddress -eq '{escaped}'"))
    text = _("Let it send from {address} alone. Give the app no Mail.Send in Entra: that would cover every mailbox.")
    role = 'New-ManagementRoleAssignment -App OBJECT_ID -Role "Application {role}" -CustomResourceScope {scope}'
    commands = (
        f"New-ManagementScope -Name {scope} -RecipientRestrictionFilter {condition}",
        role.format(role="Mail.Send", scope=scope),
    )
    large = _("For mail over 2 MB also:")
    check = _("Check it; InScope must be True. It takes up to two hours until it works.")
    return (
        _service_principal(client),
        AdminStep(text.format(address=address), commands),
        AdminStep(large, (role.format(role="Mail.ReadWrite", scope=scope),)),
        AdminStep(check, (f"Test-ServicePrincipalAuthorization -Identity {app} -Resource {_word(address)}",)),
    )


def _smtp(account: Account, client: TokenClient) -> tuple[AdminStep, ...]:
    address = _word(account.address)
    permission = _(
        "In the app's API permissions choose: APIs my organization uses, Office 365 Exchange Online, Application "
        "permissions, SMTP.SendAsApp. Then grant admin consent."
    )
    rights = _("Let it send from {address}, and switch on authenticated SMTP there. It takes up to two hours.")
    return (
        AdminStep(permission),
        _service_principal(client),
        AdminStep(
            rights.format(address=account.address),
            (
                f"Add-MailboxPermission -Identity {address} -User OBJECT_ID -AccessRights FullAccess",
                f"Add-RecipientPermission {address} -Trustee OBJECT_ID -AccessRights SendAs -Confirm:$false",
                f"Set-CASMailbox -Identity {address} -SmtpClientAuthenticationDisabled $false",
            ),
        ),
    )


def _google(account: Account, client: TokenClient, client_number: str) -> tuple[AdminStep, ...]:
    enable = _("Enable the Gmail API in the project of the service account: {url}")
    allow = _("As a super administrator of {domain}, add the client id {number} with the scope {scope}: {url}")
    steps = [
        AdminStep(
            allow.format(
                domain=account.address.rpartition("@")[2],
                number=client_number or _("of the service account"),
                scope=" ".join(client.scopes),
                url="https://admin.google.com/ac/owl/domainwidedelegation",
            )
        )
    ]
    if account.transport is TransportKind.GMAIL:
        url = "https://console.cloud.google.com/apis/library/gmail.googleapis.com"
        steps.insert(0, AdminStep(enable.format(url=url)))
    return tuple(steps)
