"""What an administrator is told to do has the account's values, quoted for PowerShell."""

from __future__ import annotations

import re

import pytest

from smtpsetup.core.model import Auth, TransportKind
from smtpsetup.core.oauth_types import Grant, TokenClient
from smtpsetup.setup.admin_steps import admin_steps
from tests.conftest import account_at

ENDPOINT = "https://login.microsoftonline.com/mittforetag.se/oauth2/v2.0/token"


def commands(address: str, transport: TransportKind, endpoint: str = ENDPOINT) -> str:
    client = TokenClient("1111-2222", endpoint, ("scope",), grant=Grant.CLIENT_CREDENTIALS)
    account = account_at(443, address=address, auth=Auth.OAUTH2, transport=transport, oauth2=client)
    return "\n".join(command for step in admin_steps(account, client) for command in step.commands)


def test_graph_is_limited_to_the_one_mailbox() -> None:
    text = commands("info@mittforetag.se", TransportKind.GRAPH)
    assert "-RecipientRestrictionFilter \"PrimarySmtpAddress -eq 'info@mittforetag.se'\"" in text
    assert 'New-ServicePrincipal -AppId 1111-2222 -ObjectId OBJECT_ID -DisplayName "smtpsetup"' in text
    assert '-Role "Application Mail.Send" -CustomResourceScope "smtpsetup info@mittforetag.se"' in text


def test_smtp_gets_rights_and_is_switched_on() -> None:
    text = commands("info@mittforetag.se", TransportKind.SMTP)
    assert "Add-RecipientPermission info@mittforetag.se -Trustee OBJECT_ID -AccessRights SendAs" in text
    assert "Set-CASMailbox -Identity info@mittforetag.se -SmtpClientAuthenticationDisabled $false" in text


@pytest.mark.parametrize("address", ["o'brien@x.se", "$(calc)@x.se", "a`b@x.se", "a&b@x.se", "a|b@x.se"])
def test_an_address_is_a_text_to_powershell(address: str) -> None:
    for kind in (TransportKind.GRAPH, TransportKind.SMTP):
        for line in commands(address, kind).splitlines():
            # in double quotes PowerShell replaces $ and `, in single quotes nothing
            not_single = re.sub(r"(?<!\")'(?:[^']|'')*'(?!\")", "", line.replace("$false", ""))
            assert not set("$`") & set(not_single), line
            bare = re.sub(r'"[^"]*"', "", not_single)
            assert not set("&|';") & set(bare), line


def test_another_provider_has_no_steps() -> None:
    assert commands("info@x.se", TransportKind.SMTP, "https://idp.example/token") == ""
