"""The boundary between the domain names of different owners, by publicsuffixlist's Public Suffix List."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from publicsuffixlist import PublicSuffixList


@functools.cache
def _list() -> PublicSuffixList:
    import pkgutil

    from publicsuffixlist import PublicSuffixList  # 40 ms, which `same_owner` avoids if it can

    # by its loader, since its own `open` fails in a zipapp
    return PublicSuffixList(pkgutil.get_data("publicsuffixlist", "public_suffix_list.dat"))


def registrable(domain: str) -> str | None:
    """The registrable domain of a name (A-labels), such as `mittforetag.se`; None for a public suffix."""
    found: str | None = _list().privatesuffix(domain)
    return found


def same_owner(host: str, domain: str) -> bool:
    """Whether a host and a domain have the same registrable domain."""
    if host.rpartition(".")[2] != domain.rpartition(".")[2]:
        return False
    # also for a host below the domain: another suffix may lie between, such as s3.amazonaws.com
    owner = registrable(domain)
    return owner is not None and registrable(host) == owner
