"""Completion of values without importing the command that takes them, which may load much of the program."""

from __future__ import annotations

from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ShellComplete,
    ZshComplete,
    add_completion_class,
)

from smtpsetup.cli.complete import account_names, client_names, error_codes, fault_codes, provider_ids

_ACCOUNT = ("test", "login", "logout", "doctor", "card", "accounts show", "accounts default", "accounts remove")
VALUES = {
    **{(command, ""): account_names for command in _ACCOUNT},
    ("send", "-a"): account_names,
    ("send", "--account"): account_names,
    ("configure", "--provider"): provider_ids,
    ("providers show", ""): provider_ids,
    ("explain", ""): error_codes,
    ("sandbox", "--fault"): fault_codes,
    ("card", "--client"): client_names,
    ("relay renew", ""): client_names,
    ("relay remove", ""): client_names,
}
"""By the command and the option before the value, `""` for the first argument."""


def values(words: list[str], typed: str) -> list[str] | None:
    """What a Tab offers behind these words (without the program's name); None where Click has to find out."""
    option = words[-1] if words and words[-1].startswith("-") else ""
    command = " ".join(words[:-1] if option else words)
    names = VALUES.get((command, option))
    return names(typed) if names and not typed.startswith("-") else None


class _Quick(ShellComplete):
    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem]:
        """The values of the table, else what Click finds."""
        found = values(args, incomplete)
        return super().get_completions(args, incomplete) if found is None else [CompletionItem(one) for one in found]


class _Bash(_Quick, BashComplete):
    pass


class _Zsh(_Quick, ZshComplete):
    pass


class _Fish(_Quick, FishComplete):
    pass


def register() -> None:
    """Let Click use these classes."""
    for made in (_Bash, _Zsh, _Fish):
        add_completion_class(made)
