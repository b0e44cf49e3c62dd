"""The renderers, each imported when a command first uses it, since rich takes long to load and cron needs none."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from smtpsetup.render import (
        batch,
        card,
        doctor,
        errors,
        explain,
        human,
        identification,
        json,
        outbox,
        preview,
        provider,
        relay,
        relay_json,
        sandbox,
        sandbox_json,
        sources,
        stages,
        topics,
    )

__all__ = [
    "batch",
    "card",
    "doctor",
    "errors",
    "explain",
    "human",
    "identification",
    "json",
    "outbox",
    "preview",
    "provider",
    "relay",
    "relay_json",
    "sandbox",
    "sandbox_json",
    "sources",
    "stages",
    "topics",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401  a module; mypy reads its type above
    if name not in __all__:
        raise AttributeError(name)
    module = import_module(f"smtpsetup.render.{name}")
    globals()[name] = module
    return module
