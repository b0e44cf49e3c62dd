"""Merge newer facts into providers.toml: `merge_providers.py FACTS.jsonl [--mx MX.jsonl] [--write]`.

A line of facts is one mail domain: `domain`, `provider` (a name), `host`, `port`, `security`, `username` (`address`,
`localpart`, `localpart.domain`), `auth`, `confidence`, `docs_url`, `sources`, and `alternatives` as [host, port,
security].

Existing rows are edited by hand and stay unchanged, except for new domains at the end of their `domains`. A domain
joins the row whose server it uses, or gets a new row with the others of that server. Nothing is written without
--write; the report names what changed, conflicts, is left out or is old.
"""

from __future__ import annotations

import argparse
import datetime
import json
import re
import textwrap
import tomllib
import unicodedata
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smtpsetup.address.hosts import InvalidHostError, checked_host
from smtpsetup.providers import schema

if TYPE_CHECKING:
    from collections.abc import Iterable

TABLE = Path(__file__).parents[1] / "providers.toml"
TODAY = datetime.datetime.now(datetime.UTC).date()
CONFIDENCE = ("high", "medium", "low")
USERNAMES = {"address": "address", "localpart": "local-part", "localpart.domain": "local-part.domain"}
APP_PASSWORD = (
    "Create an app password in the account's settings and use it here instead of your own.",
    "Skapa ett applösenord i kontots inställningar och använd det här i stället för ditt eget.",
)
Fact = dict[str, Any]


def safe_servers(fact: Fact) -> list[tuple[str, int, str]]:
    """The fact's servers with TLS on a port that goes with it, best first."""
    found = [(fact.get("host"), fact.get("port"), fact.get("security")), *map(tuple, fact.get("alternatives", ()))]
    servers = []
    for host, port, security in found:
        if not host or security not in {"tls", "starttls"} or (port, security) in {(465, "starttls"), (25, "tls")}:
            continue
        try:
            checked_host(host.replace("{domain}", "d.example"))
        except InvalidHostError:
            continue
        servers.append((host.lower(), port, security))
    return list(dict.fromkeys(servers))


def row_of(fact: Fact, rows: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The row that a domain belongs to: by the provider's name, or by its server."""
    servers = {server[0] for server in safe_servers(fact)}
    same_server = [row for row in rows if row["domains"] and servers & {server["host"] for server in row["servers"]}]
    first_choice = [row for row in same_server if row["servers"][0]["host"] in servers]
    if not servers:
        return next((row for row in rows if row["name"].lower() == fact["provider"].lower() and row["servers"]), None)
    return next(iter(first_choice or same_server), None)


def is_covered(domain: str, rows: list[dict[str, Any]]) -> bool:
    """Whether a row has the domain."""
    return any(domain in row["domains"] for row in rows)


def slug(text: str) -> str:
    """An id from a name or a host."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii")
    return re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")


def host_label(host: str) -> str:
    """The part of a host that names its owner: `vodafonemail` of smtp.vodafonemail.de."""
    labels = host.replace("{domain}", "").strip(".").split(".")[:-1]
    if len(labels) > 1 and labels[-1] in {"co", "com", "ne", "or", "net", "org", "ac", "ad", "gov", "edu"}:
        labels = labels[:-1]
    return labels[-1] if labels else ""


def list_line(key: str, entries: list[str]) -> str:
    """A list in TOML, wrapped."""
    text = f"{key} = {json.dumps(entries, ensure_ascii=False)}"
    return textwrap.fill(text, 150, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)


def new_row(facts: list[Fact], taken: set[str], key: str) -> str:
    """A row for domains that share a server; `key` is where they are listed, `domains` or `mx_suffixes`."""
    best = min(facts, key=lambda fact: CONFIDENCE.index(fact["confidence"]))
    servers = safe_servers(best)
    names = sorted(fact["domain"] for fact in facts)
    name = best["provider"] if "%" not in best["provider"] else best["domain"].partition(".")[0]
    choices = (slug(name), host_label(servers[0][0]), slug(best["domain"]), slug(servers[0][0]))
    row_id = next(choice for choice in choices if choice and choice not in taken)
    taken.add(row_id)
    auth = [kind for kind in best.get("auth", ()) if kind in {"password", "app-password", "oauth2"}] or ["password"]
    lines = [
        "[[provider]]",
        f'id = "{row_id}"',
        f"name = {json.dumps(name, ensure_ascii=False)}",
        *(list_line(name, names if name == key else []) for name in ("domains", "mx_suffixes")),
        f'status = "{"prepare" if auth == ["app-password"] else "ok"}"',
        "servers = [",
        *(f'    {{ host = "{host}", port = {port}, security = "{security}" }},' for host, port, security in servers),
        "]",
        f"auth = {json.dumps(auth)}",
        f"docs_url = {json.dumps(best.get('docs_url') or '', ensure_ascii=True)}",
        f'confidence = "{max((fact["confidence"] for fact in facts), key=CONFIDENCE.index)}"',
        "sources = [",
        *(
            f"    {{ at = {json.dumps(source)} }},"
            for source in sorted({one for fact in facts for one in fact["sources"]})
        ),
        "]",
        "",
        "[provider.username]",
        f'form = "{USERNAMES.get(best.get("username", "address"), "address")}"',
        "",
    ]
    if auth == ["app-password"]:
        english, swedish = APP_PASSWORD
        step = f"    {{ en = {json.dumps(english)}, sv = {json.dumps(swedish, ensure_ascii=False)} }},"
        lines += ["[provider.enable]", 'url = ""', "steps = [", step, "]", ""]
    return "\n".join(lines)


def with_more(text: str, row_id: str, key: str, added: list[str]) -> str:
    """The table with more entries at the end of one row's list, everything else untouched."""
    start = text.index(f'\nid = "{row_id}"\n')
    begin = text.index(f"\n{key} = [", start) + 1
    end = text.index("]", begin) + 1
    entries = [*tomllib.loads(text[begin:end])[key], *sorted(added)]
    return text[:begin] + list_line(key, entries) + text[end:]


def with_entries(
    text: str, key: str, joining: dict[str, list[str]], starting: Iterable[list[Fact]]
) -> tuple[str, list[str]]:
    """The table with entries added to existing rows, by their id, and with new rows; and the report."""
    kind = " MX suffixes" if key == "mx_suffixes" else ""
    report = []
    for row_id, added in joining.items():
        text = with_more(text, row_id, key, added)
        report.append(f"joined: {row_id} +{len(added)}{kind}: {', '.join(sorted(added))}")
    taken = {row["id"] for row in tomllib.loads(text)["provider"]}
    for group in starting:
        row_text = new_row(group, taken, key)
        text = f"{text.rstrip()}\n\n{row_text}"
        row_id = tomllib.loads(row_text)["provider"][0]["id"]
        report.append(f"new: {row_id}:{kind} {', '.join(fact['domain'] for fact in group)}")
    return text, report


def merged(text: str, facts: list[Fact]) -> tuple[str, list[str]]:
    """The table with the facts merged in, and the report."""
    rows = tomllib.loads(text)["provider"]
    report: list[str] = []
    joining: dict[str, list[str]] = defaultdict(list)
    starting: dict[str, list[Fact]] = defaultdict(list)
    for fact in facts:
        row = next((row for row in rows if fact["domain"] in row["domains"]), None)
        hosts = {server[0] for server in safe_servers(fact)}
        if row:
            known = {server["host"] for server in row["servers"]}
            if hosts and not hosts & known:
                report.append(
                    f"conflict: {fact['domain']} is at {', '.join(sorted(known)) or 'no server'} in the table, "
                    f"{', '.join(hosts)} in the facts"
                )
            continue
        if is_covered(fact["domain"], rows):
            continue
        row = row_of(fact, rows)
        if row:
            joining[row["id"]].append(fact["domain"])
        elif hosts:
            starting[f"{safe_servers(fact)[0]} {'low' if fact['confidence'] == 'low' else ''}"].append(fact)
        else:
            report.append(f"left out: {fact['domain']} has no safe server")
    text, changes = with_entries(text, "domains", joining, starting.values())
    report += changes
    old = [row["id"] for row in rows if (newest := _newest(row)) and (TODAY - newest).days > 365]  # noqa: PLR2004  a year
    report += [f"old: {row_id} has no source of the last year" for row_id in old]
    return text, report


def _newest(row: dict[str, Any]) -> datetime.date | None:
    """The date of a row's newest source; None where no source has one."""
    return max((source["date"] for source in row.get("sources", ()) if "date" in source), default=None)


def merged_mx(text: str, suffixes: list[Fact]) -> tuple[str, list[str]]:
    """The table with MX suffixes merged in, each into the row whose first server it is known to use; and the report."""
    rows = tomllib.loads(text)["provider"]
    known = {suffix for row in rows for suffix in row["mx_suffixes"]}
    joining: dict[str, list[str]] = defaultdict(list)
    starting: dict[tuple[str, int, str], list[Fact]] = defaultdict(list)
    report = []
    for fact in suffixes:
        server = fact.get("smtp", {})
        row = next((row for row in rows if row["servers"] and row["servers"][0]["host"] == server.get("host")), None)
        if fact["suffix"] in known:
            continue
        known.add(fact["suffix"])
        if row:
            joining[row["id"]].append(fact["suffix"])
        elif safe_servers(server):
            # a host whose customers all have their own domains: known by its MX, by no domain
            starting[safe_servers(server)[0]].append(
                {
                    **server,
                    "domain": fact["suffix"],
                    "provider": fact["provider"],
                    "confidence": "medium",
                    "sources": [fact["source"]],
                }
            )
        else:
            report.append(f"left out: no safe server is known for the MX suffix {fact['suffix']}")
    text, changes = with_entries(text, "mx_suffixes", joining, starting.values())
    return text, report + changes


def read_facts(path: Path) -> list[Fact]:
    """The lines of a file of facts."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def main() -> None:
    """Merge, report, and write with --write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("facts", type=Path)
    parser.add_argument("--mx", type=Path, help="a file of MX suffixes, too: `suffix` and `smtp` with its `host`")
    parser.add_argument("--write", action="store_true", help="change the table; without it only the report is printed")
    parser.add_argument("--table", type=Path, default=TABLE)
    options = parser.parse_args()
    text, report = merged(options.table.read_text(encoding="utf-8"), read_facts(options.facts))
    if options.mx:
        text, more = merged_mx(text, read_facts(options.mx))
        report += more
    print("\n".join(sorted(report)))
    wrong = schema.faults(tomllib.loads(text))
    if wrong:
        raise SystemExit("\n".join(["the merged table has faults, nothing was written:", *wrong]))
    if options.write:
        options.table.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
