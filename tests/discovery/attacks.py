"""Domains that try to fool whoever asks about them."""

from __future__ import annotations

from tests.discovery.domains import Domain

DOMAINS: tuple[Domain, ...] = ()
DNS_BEHAVIOUR: dict[str, str] = {}
