"""The pictures of docs/scale.md, from what bench/scale.py has simulated. Needs matplotlib."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib import pyplot as plt
from scale_model import Simulation
from scale_parts import DAY, HOUR, MINUTE, SAMPLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from matplotlib.axes import Axes
    from scale_parts import Found

PICTURES = Path(__file__).parents[1] / "docs" / "pictures"
LOOKS = (("#0072b2", "-"), ("#56b4e9", "--"), ("#d55e00", "-"), ("#009e73", "-"))  # told apart by the colour-blind, too
SIZE = (8.0, 4.2)  # inches
_DELAYS = {1: "1 s", 10: "10 s", MINUTE: "1 min", 10 * MINUTE: "10 min", HOUR: "1 h", 6 * HOUR: "6 h", DAY: "1 day"}
_NEVER = 2 * Simulation.END  # where a delay is drawn that did not end
mpl.rcParams.update(
    {
        "svg.fonttype": "none",  # text stays text: smaller, and it can be searched
        "svg.hashsalt": "smtpsetup",  # the same file each time
        "font.family": "sans-serif",
        "font.size": 10,
        "axes.axisbelow": True,
        "axes.grid": True,
        "grid.color": "#dddddd",
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
)


def _saved(name: str) -> None:
    """Write the picture on white, so that it can be read in a dark theme, too."""
    path = PICTURES / f"scale-{name}.svg"
    plt.tight_layout()
    plt.savefig(path, facecolor="white", metadata={"Date": None})
    plt.close()
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("".join(f"{line.rstrip()}\n" for line in lines), encoding="utf-8")


def _delays_on(axes: Axes, label: str) -> None:
    axes.set_yscale("log")
    axes.set_ylim(0.5, 2 * _NEVER)
    axes.set_yticks([*_DELAYS, _NEVER], [*_DELAYS.values(), "not sent"], minor=False)
    axes.minorticks_off()
    axes.set_ylabel(label)


def draw_volumes(volumes: Sequence[int], found: Mapping[str, Iterable[Found]]) -> None:
    """The delay by volume."""
    _figure, axes = plt.subplots(figsize=SIZE)
    for (name, runs), (colour, line) in zip(found.items(), LOOKS, strict=True):
        delays = [min(one.delay(0.99), _NEVER) for one in runs]
        axes.plot(volumes, delays, color=colour, linestyle=line, marker="o", label=name)
    _delays_on(axes, "99 of 100 mails are sent within (log scale)")
    axes.set_xscale("log")
    axes.set_xticks(volumes, [f"{volume:,}" for volume in volumes], minor=False)
    axes.minorticks_off()
    axes.set_xlabel("mails a day, of 100 hosts together")
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(0.0, 0.62))
    _saved("volumes")


def draw_day(found: Mapping[str, Found], spans: Mapping[str, tuple[float, float]], newsletter: float) -> None:
    """The queue over the day."""
    _figure, axes = plt.subplots(figsize=SIZE)
    for (name, one), (colour, line) in zip(found.items(), LOOKS, strict=True):
        hours = [(number + 1) * SAMPLE / HOUR for number in range(len(one.waiting))]
        axes.plot(hours[::2], [max(1, count) for count in one.waiting[::2]], color=colour, linestyle=line, label=name)
    for text, (start, end) in spans.items():
        axes.axvspan(start / HOUR, end / HOUR, color="#cccccc", alpha=0.5, linewidth=0)
        axes.text((start + end) / 2 / HOUR, 3e8, text, rotation=90, ha="center", va="top", fontsize=8)
    axes.axvline(newsletter / HOUR, color="#888888", linestyle=":")
    axes.text(newsletter / HOUR - 0.15, 3e8, "newsletter", rotation=90, ha="right", va="top", fontsize=8)
    axes.set_yscale("log")
    axes.set_ylim(1, 4e8)
    axes.set_yticks([1, 100, 10_000, 1_000_000], ["1", "100", "10,000", "1,000,000"])
    axes.set_xlim(0, 36)
    axes.set_xticks(range(0, 37, 4))
    axes.set_xlabel("time (hours from midnight)")
    axes.set_ylabel("mails that wait (number, log scale)")
    axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, 1.17), ncols=4, fontsize=9)
    _saved("day")


def draw_faults(found: Mapping[str, Mapping[str, Found]]) -> None:
    """The longest delay by fault."""
    _figure, axes = plt.subplots(figsize=SIZE)
    faults = list(dict.fromkeys(fault for runs in found.values() for fault in runs))
    width = 0.8 / len(found)
    for number, ((name, runs), (colour, _line)) in enumerate(zip(found.items(), LOOKS, strict=True)):
        places = [place + (number - 1.5) * width for place, fault in enumerate(faults) if fault in runs]
        delays = [runs[fault].delay(1) for fault in faults if fault in runs]
        axes.bar(places, [_NEVER if math.isinf(delay) else delay for delay in delays], width, color=colour, label=name)
    _delays_on(axes, "the last mail is sent within (log scale)")
    axes.grid(visible=False, axis="x")
    axes.set_xticks(range(len(faults)), [_wrapped(fault) for fault in faults], fontsize=8)
    axes.set_xlabel("what happens, at 1,000,000 mails a day")
    axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, 1.17), ncols=4, fontsize=9)
    _saved("faults")


def _wrapped(text: str) -> str:
    """A label in lines of about 18 characters."""
    lines = [""]
    for word in text.split():
        if lines[-1] and len(f"{lines[-1]} {word}") > 18:  # noqa: PLR2004  the length itself
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines)
