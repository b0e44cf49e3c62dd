"""The groups that a help page shows options in."""

from __future__ import annotations

from smtpsetup.core.i18n import gettext as _

_GROUPS = {
    "server": (
        "provider_id",
        "host",
        "port",
        "security",
        "username",
        "auth",
        "ca_file",
        "tls_fingerprint",
        "accept_host",
        "transport",
        "endpoint",
        "proxy",
        "wants_tls",
        "tls_port",
        "tls_cert",
        "tls_key",
        "starttls_port",
    ),
    "password": ("password_stdin", "password_command", "password_file", "password_env", "systemd_credential"),
    "sign-in": (
        "client_id",
        "tenant",
        "issuer",
        "scope",
        "token_command",
        "by_browser",
        "send_as",
        "large_mail",
        "app_only",
        "secret_expires",
    ),
    "recipients": ("to", "cc", "bcc", "reply_to", "from_"),
    "message": ("subject", "body", "body_file", "html", "attach", "inline", "headers"),
    "delivery": ("queue", "on_unknown", "dry_run", "raw"),
    "many": ("batch", "merge", "connections", "rate", "root", "restart"),
    "search": ("ask_all", "offline", "seconds", "no_ispdb"),
    "service": ("status", "strict", "install", "uninstall", "prints_only", "system"),
    "general": ("json", "verbose", "no_input", "help", "version", "config_option"),
}
_GROUP_OF = {name: group for group, names in _GROUPS.items() for name in names}


def titles() -> dict[str, str]:
    """The groups in the order of a help page, each with its title."""
    return {
        "": _("Options"),
        "recipients": _("Sender and recipients"),
        "message": _("Message"),
        "delivery": _("Delivery"),
        "many": _("Many mails"),
        "server": _("Server"),
        "password": _("Where the password comes from"),
        "sign-in": _("Signing in with OAuth2"),
        "search": _("Looking for the server"),
        "service": _("Service"),
        "general": _("General options"),
    }


def group_of(command: str, parameter: str) -> str:
    """The group of a parameter, by its name in Click; `""` for the options that are the command's own."""
    group = _GROUP_OF.get(parameter, "")
    is_own = (group == "service" and command != "relay") or command.startswith("providers ")
    return "" if is_own and group != "general" else group
