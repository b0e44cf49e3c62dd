"""Ten million mails a day of a hundred hosts: three designs against the limits of a provider, and against faults.

`python bench/scale.py` prints the tables of docs/scale.md and draws its pictures (`make scale`); `--no-pictures` needs
no matplotlib. The exit code is 1 where the document has other figures. Simulated, not measured: bench/scale_model.py
says how. The parameters are those below. The same seed gives the same figures each time; a run takes less than two
minutes on one core.
"""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from scale_model import Simulation
from scale_parts import HOUR, MINUTE, Design, Faults, Found, Load, Provider

if TYPE_CHECKING:
    from collections.abc import Iterable

# measured by bench/null_clients.py, with a provider 50 ms away: 19 mails a second over one connection
ROUND_TRIP = 0.05  # seconds
ROUND_TRIPS_A_MAIL = 1.0
HANDED_TO_RELAY = 80.0  # mails a second, by one null client over four connections
# assumed: nothing of it is measured
WORKERS = 40  # on five machines, each with one connection
CLAIM_SECONDS = 0.005  # for the database to give a worker 20 mails
ADDED_TO_DATABASE = 1000.0  # mails a second, by one host
PROVIDER = Provider(connections=50, per_minute=15_000, per_day=12_000_000)
# shares of the hours of a day: little at night, most from 11 to 12
_HOURS = (0.3,) * 6 + (0.6, 1.0, 1.4, 1.6, 1.7, 2.0, 1.5, 1.5, 1.6, 1.5, 1.4, 1.2, 1.0, 0.9, 0.8, 0.7, 0.5, 0.4)
HOURS = tuple(share * len(_HOURS) / sum(_HOURS) for share in _HOURS)
DOCUMENT = Path(__file__).parents[1] / "docs" / "scale.md"
VOLUMES = (100_000, 300_000, 1_000_000, 3_000_000, 10_000_000)
PROVIDER_AWAY = (14 * HOUR, 15 * HOUR)
DATABASE_AWAY = (8 * HOUR, 8 * HOUR + 10 * MINUTE)
NEWSLETTER_AT = 20 * HOUR
HOST_AWAY = (20.5 * HOUR, 22.5 * HOUR)  # host 0, whose newsletter is under way

DESIGNS = (
    Design("outboxes, by timer", ROUND_TRIPS_A_MAIL),
    Design("outboxes, by cron", ROUND_TRIPS_A_MAIL, by_cron=True),
    Design("null clients, one relay", ROUND_TRIPS_A_MAIL, senders=1, hand_in=HANDED_TO_RELAY),
    Design("shared outbox", ROUND_TRIPS_A_MAIL, senders=WORKERS, hand_in=ADDED_TO_DATABASE, per_claim=CLAIM_SECONDS),
)
RELAY, SHARED = DESIGNS[2], DESIGNS[3]


def simulated(design: Design, load: Load, faults: Faults = Faults(), provider: Provider = PROVIDER) -> Found:  # noqa: B008  frozen
    """One run of two days."""
    return Simulation(design, load, provider, faults, round_trip=ROUND_TRIP).run()


def volumes() -> dict[str, list[Found]]:
    """Each design with each volume, without faults."""
    return {design.name: [simulated(design, Load(volume, HOURS)) for volume in VOLUMES] for design in DESIGNS}


def whole_day() -> dict[str, Found]:
    """Each design with ten million mails, a newsletter of a million, and all faults."""
    load = Load(10_000_000, HOURS, newsletter=1_000_000, newsletter_at=NEWSLETTER_AT)
    found = {}
    for design in DESIGNS:
        middle = DATABASE_AWAY if design is SHARED else (math.inf, math.inf)
        found[design.name] = simulated(design, load, Faults(PROVIDER_AWAY, middle, HOST_AWAY))
    return found


def single_faults() -> dict[str, dict[str, Found]]:
    """Each design with a million mails a day, which all of them carry, and one fault at a time."""
    calm = Load(1_000_000, HOURS)
    letter = replace(calm, newsletter=100_000, newsletter_at=NEWSLETTER_AT)
    scarce = replace(PROVIDER, per_day=900_000)
    found: dict[str, dict[str, Found]] = {}
    for design in DESIGNS:
        dead = Faults(middle=HOST_AWAY) if design is RELAY else Faults(host=HOST_AWAY)
        found[design.name] = {
            "none": simulated(design, calm),
            "provider away for an hour": simulated(design, calm, Faults(provider=PROVIDER_AWAY)),
            "newsletter of 100,000": simulated(design, letter),
            "newsletter, and a machine dead for two hours": simulated(design, letter, dead),
            "900,000 a day allowed": simulated(design, calm, provider=scarce),
        }
        if design is SHARED:
            away = simulated(design, calm, Faults(middle=DATABASE_AWAY))
            found[design.name]["database away for 10 minutes"] = away
    return found


def shown(seconds: float) -> str:
    """A delay in the unit that suits it."""
    if math.isinf(seconds):
        return "never"
    if seconds < 2 * MINUTE:
        return f"{seconds:.0f} s"
    return f"{seconds / MINUTE:.0f} min" if seconds < 2 * HOUR else f"{seconds / HOUR:.1f} h"


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table in Markdown."""
    names = list(head)
    lines = [names, ["---"] * len(names), *(list(row) for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def volume_table(found: dict[str, list[Found]]) -> str:
    """The delay by volume."""
    head = ("median, 99 of 100, at … a day", *(f"{volume:,}" for volume in VOLUMES))
    rows = (
        (name, *(f"{shown(one.delay(0.5))}, {shown(one.delay(0.99))}" for one in runs)) for name, runs in found.items()
    )
    return table(head, rows)


def day_table(found: dict[str, Found]) -> str:
    """The whole day."""
    names = "made", "not sent after 24 h", "after 48 h", "median", "99 of 100", "no connection", "over a limit", "stuck"
    rows = []
    for name, one in found.items():
        left = one.made - one.sent_in_a_day, one.made - one.sent
        refused = one.no_connection, one.too_many, one.stuck
        counts = [f"{one.made:,}", *(f"{count:,}" for count in left)]
        rows.append(
            [name, *counts, shown(one.delay(0.5)), shown(one.delay(0.99)), *(f"{count:,}" for count in refused)]
        )
    return table(("the whole day", *names), rows)


def fault_table(found: dict[str, dict[str, Found]]) -> str:
    """Each fault alone."""
    faults = list(found[SHARED.name])

    def cell(one: Found | None) -> str:
        if one is None:
            return "-"
        return f"{shown(one.delay(0.99))}, {shown(one.delay(1))}, {one.no_connection + one.too_many:,}"

    rows = ([fault, *(cell(runs.get(fault)) for runs in found.values())] for fault in faults)
    return table(("99 of 100, the last, refused attempts", *found), rows)


def main() -> None:
    """Simulate, print and draw."""
    by_volume, by_fault, day = volumes(), single_faults(), whole_day()
    tables = volume_table(by_volume), fault_table(by_fault), day_table(day)
    print("\n".join(tables))
    last = by_fault[SHARED.name]
    print(
        "shared outbox, mails under way when the database or a machine goes away: "
        f"{last['database away for 10 minutes'].in_flight}, {day[SHARED.name].in_flight}"
    )
    if "--no-pictures" not in sys.argv:
        import scale_pictures  # needs matplotlib

        spans = {"database away": DATABASE_AWAY, "provider away": PROVIDER_AWAY, "host dead": HOST_AWAY}
        scale_pictures.draw_volumes(VOLUMES, by_volume)
        scale_pictures.draw_day(day, spans, NEWSLETTER_AT)
        scale_pictures.draw_faults(by_fault)
    text = DOCUMENT.read_text(encoding="utf-8")
    if not all(one in text for one in tables):
        sys.exit("docs/scale.md has other figures: write these tables there, and read its text again.")


if __name__ == "__main__":
    main()
