"""Domains that people have and hosters that firms use, from evidence apart from the table: how many it knows.

`sample_addresses.tsv` has country, domain and how many addresses have it: 101,036 different addresses of authors and in
messages of 166 public histories were counted (2026-11); a domain is there with two or more of them, if two or more of
six public lists of free mail domains have it, so nobody chose it. `sample_domains.tsv` has country, domain and where it
was seen that people have it, rare ones too. `sample_hosters.tsv` has country, hoster, an MX host of a customer, and
where it was seen.
"""

from __future__ import annotations

import collections
import datetime
from pathlib import Path

import pytest

from smtpsetup.providers.table import Table

TODAY = datetime.date(2026, 11, 26)
HERE = Path(__file__).parent
HOSTERS_LEAST = 0.85
ADDRESSES_LEAST = 0.85
ADDRESSES_LEAST_OF = {"AU": 0.66}  # the server of The Messaging Company, which has Internode's mail, was not found
# here a row without servers, which names the provider, counts
NEIGHBOURS = {"SE", "DK", "NO", "FI", "IS"}
# of the domains of each country, how many have a server (or are known to have closed), and how many are known at all.
# The share of the first kind is that of 2026-11: where it is low, no trustworthy source for the servers was found.
# Outside the Nordic countries the sample also has the domains that were looked up in 2026-11, found or not.
LEAST = {
    "AU": (0.58, 0.90),
    "BE": (0.45, 0.60),
    "CA": (0.50, 0.71),
    "DE": (0.82, 0.89),
    "DK": (0.20, 0.90),
    "FI": (0.16, 0.90),
    "FR": (0.81, 0.90),
    "GB": (0.66, 0.81),
    "IS": (0.00, 0.85),
    "IT": (0.64, 0.80),
    "NL": (0.64, 0.89),
    "NO": (0.36, 0.90),
    "NZ": (0.75, 0.90),
    "PL": (0.90, 0.90),
    "SE": (0.20, 0.90),
    "US": (0.81, 0.90),
}


def sample(name: str) -> list[list[str]]:
    """The lines of a sample without its head."""
    return [line.split("\t") for line in (HERE / name).read_text(encoding="utf-8").splitlines()[1:]]


@pytest.mark.parametrize("country", LEAST)
def test_the_domains_that_people_have_are_known(country: str) -> None:
    table = Table(TODAY)
    rows = {domain: table.by_domain(domain) for of, domain, *_where in sample("sample_domains.tsv") if of == country}
    usable = [domain for domain, row in rows.items() if row and (row.servers or row.has_closed)]
    known = [domain for domain, row in rows.items() if row]
    least_usable, least_known = LEAST[country]
    assert len(usable) >= least_usable * len(rows), sorted(set(rows) - set(usable))
    assert len(known) >= least_known * len(rows), sorted(set(rows) - set(known))


@pytest.mark.parametrize("country", sorted({line[0] for line in sample("sample_addresses.tsv")}))
def test_the_domains_of_public_addresses_have_a_server(country: str) -> None:
    table = Table(TODAY)
    rows = {domain: table.by_domain(domain) for of, domain, _count in sample("sample_addresses.tsv") if of == country}
    missing = [
        domain
        for domain, row in rows.items()
        if not row or not (row.servers or row.has_closed or country in NEIGHBOURS)
    ]
    assert len(missing) <= (1 - ADDRESSES_LEAST_OF.get(country, ADDRESSES_LEAST)) * len(rows), missing


def test_the_hosters_of_firms_are_recognised_by_their_mx() -> None:
    table = Table(TODAY)
    lines = sample("sample_hosters.tsv")
    unknown = [(hoster, host) for _country, hoster, host, *_where in lines if table.by_mx_host(host) is None]
    assert len(unknown) <= (1 - HOSTERS_LEAST) * len(lines), unknown


def test_every_line_of_the_samples_says_where_it_was_seen() -> None:
    for name, columns in (("sample_domains.tsv", 3), ("sample_hosters.tsv", 4)):
        lines = sample(name)
        assert all(len(line) == columns and all(cell.strip() for cell in line) for line in lines), name
        assert not [
            key for key, number in collections.Counter(line[columns - 2] for line in lines).items() if number > 1
        ]
