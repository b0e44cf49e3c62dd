"""Where one owner's names end and another's begin: the Public Suffix List, bundled with publicsuffixlist."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from publicsuffixlist import PublicSuffixList


@functools.cache
def _list() -> PublicSuffixList:
    from publicsuffixlist import PublicSuffixList  # 40 ms that only names of two owners cost

    return PublicSuffixList()


def registrable(domain: str) -> str | None:
    """The part of a domain name (A-labels) that was registered, such as `mittforetag.se`; None for a public suffix."""
    found: str | None = _list().privatesuffix(domain)
    return found


def same_owner(host: str, domain: str) -> bool:
    """Whether a host belongs to whoever registered the domain."""
    if host.rpartition(".")[2] != domain.rpartition(".")[2]:
        return False
    # also for a host below the domain: another suffix may lie between, such as s3.amazonaws.com
    owner = registrable(domain)
    return owner is not None and registrable(host) == owner
