"""The boundary between the domain names of different owners, by the Public Suffix List (https://publicsuffix.org/list).

The list is publicsuffixlist's or, where that library is not installed, the system's (Debian's package publicsuffix).
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

from smtpsetup.address.address import InvalidDomainError, domain_forms

if TYPE_CHECKING:
    from collections.abc import Callable

_FEWEST_RULES = 5_000  # the list had 9,000 in 2020
SYSTEM_LIST = Path("/usr/share/publicsuffix/public_suffix_list.dat")


@functools.cache
def _registrable_by_list() -> Callable[[str], str | None]:
    import pkgutil

    try:
        from publicsuffixlist import PublicSuffixList  # 40 ms, which `same_owner` avoids if it can
    except ModuleNotFoundError:
        if not SYSTEM_LIST.exists():
            raise
        rules = rules_in(SYSTEM_LIST.read_text(encoding="utf-8"))
        if len(rules) < _FEWEST_RULES:  # a list that was cut off would make co.uk one owner's
            raise
        return lambda domain: registrable_by(rules, domain)
    # by its loader, since its own `open` fails in a zipapp
    found: Callable[[str], str | None] = PublicSuffixList(
        pkgutil.get_data("publicsuffixlist", "public_suffix_list.dat")
    ).privatesuffix
    return found


def rules_in(text: str) -> frozenset[str]:
    """The rules of a Public Suffix List: a line's first word, unless it is a comment."""
    return frozenset(line.split()[0] for line in text.splitlines() if line.strip() and not line.startswith("//"))


def registrable_by(rules: frozenset[str], domain: str) -> str | None:
    """The registrable domain by these rules; a top-level domain that has no rule is a public suffix."""
    labels = domain.split(".")
    written = _in_letters(domain).split(".")
    for start in range(len(labels)):
        name, parent = ".".join(written[start:]), ".".join(written[start + 1 :])
        if f"!{name}" in rules:
            return ".".join(labels[start:])
        if name in rules or f"*.{parent}" in rules or start == len(labels) - 1:
            return ".".join(labels[start - 1 :]) if start else None
    return None


def _in_letters(domain: str) -> str:
    """The domain in U-labels, as the rules are."""
    if "xn--" not in domain:
        return domain
    try:
        return domain_forms(domain)[1]
    except InvalidDomainError:  # the DNS has names that are not valid
        return domain


def registrable(domain: str) -> str | None:
    """The registrable domain of a name (A-labels), such as `mittforetag.se`; None for a public suffix."""
    return _registrable_by_list()(domain)


def same_owner(host: str, domain: str) -> bool:
    """Whether a host and a domain have the same registrable domain."""
    if host.rpartition(".")[2] != domain.rpartition(".")[2]:
        return False
    # also for a host below the domain: another suffix may lie between, such as s3.amazonaws.com
    owner = registrable(domain)
    return owner is not None and registrable(host) == owner
