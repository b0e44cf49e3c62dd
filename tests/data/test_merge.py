"""The merge adds new facts, keeps what was edited by hand, and reports what it did."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from smtpsetup.providers import schema
from tests.unit.test_providers import ROW

ROOT = Path(__file__).parents[2]
FACT = {
    "domain": "new.example",
    "provider": "New Mail",
    "host": "smtp.new.example",
    "port": 465,
    "security": "tls",
    "username": "address",
    "auth": ["password"],
    "confidence": "high",
    "sources": ["ispdb"],
}


def merge(
    tmp_path: Path, table: str, *facts: dict[str, Any], mx: list[dict[str, Any]] | None = None, write: bool = True
) -> tuple[str, str]:
    """The table after a merge, and the report."""
    (tmp_path / "table.toml").write_text(table)
    (tmp_path / "facts.jsonl").write_text("".join(json.dumps(fact) + "\n" for fact in facts))
    (tmp_path / "mx.jsonl").write_text("".join(json.dumps(fact) + "\n" for fact in mx or []))
    command = [
        sys.executable,
        "tools/merge_providers.py",
        str(tmp_path / "facts.jsonl"),
        "--table",
        str(tmp_path / "table.toml"),
    ]
    command += ["--mx", str(tmp_path / "mx.jsonl"), *(["--write"] if write else [])]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return (tmp_path / "table.toml").read_text(), done.stdout


def test_nothing_is_written_without_write(tmp_path: Path) -> None:
    table, report = merge(tmp_path, ROW, FACT, write=False)
    assert table == ROW
    assert "new: new-mail: new.example" in report


def test_a_new_server_gets_a_row_and_the_rest_stays_unchanged(tmp_path: Path) -> None:
    table, _report = merge(tmp_path, ROW, FACT, {**FACT, "domain": "also-new.example"})
    assert table.startswith(ROW.rstrip())
    row = tomllib.loads(table)["provider"][1]
    assert (row["id"], row["domains"]) == ("new-mail", ["also-new.example", "new.example"])
    again, report = merge(tmp_path, table, FACT)
    assert again == table
    assert report.strip() == ""


def test_a_domain_joins_the_row_of_its_server(tmp_path: Path) -> None:
    own = ROW.replace("smtp.{domain}", "smtp.my-host.example").replace(
        'name = "My Host"', 'name = "My Host"  # by hand'
    )
    table, report = merge(tmp_path, own, {**FACT, "host": "smtp.my-host.example"})
    assert tomllib.loads(table)["provider"][0]["domains"] == ["example.com", "new.example"]
    assert "# by hand" in table
    assert report.startswith("joined: my-host")


def test_conflicts_are_reported_and_the_table_takes_precedence(tmp_path: Path) -> None:
    table, report = merge(tmp_path, ROW, {**FACT, "domain": "example.com"})
    assert table == ROW
    assert "conflict: example.com" in report


@pytest.mark.parametrize(
    "change", [{"security": "none"}, {"port": 465, "security": "starttls"}, {"host": "not a host"}, {"host": None}]
)
def test_an_unsafe_server_is_left_out_and_reported(tmp_path: Path, change: dict[str, Any]) -> None:
    table, report = merge(tmp_path, ROW, {**FACT, **change})
    assert table == ROW
    assert "left out: new.example" in report


def test_a_safe_alternative_is_taken_instead(tmp_path: Path) -> None:
    table, _report = merge(
        tmp_path, ROW, {**FACT, "security": "none", "port": 25, "alternatives": [["smtp.new.example", 587, "starttls"]]}
    )
    assert tomllib.loads(table)["provider"][1]["servers"] == [
        {"host": "smtp.new.example", "port": 587, "security": "starttls"}
    ]


def test_an_mx_suffix_joins_the_row_of_its_server(tmp_path: Path) -> None:
    own = ROW.replace("smtp.{domain}", "smtp.my-host.example")
    server = {"port": 465, "security": "tls"}
    known = {
        "suffix": "mx.my-host.example",
        "provider": "My Host",
        "smtp": {"host": "smtp.my-host.example", **server},
        "source": "ispdb",
    }
    other = {
        "suffix": "mx.other.example",
        "provider": "Other",
        "smtp": {"host": "smtp.other.example", **server},
        "source": "ispdb",
    }
    plain = {
        "suffix": "mx.plain.example",
        "provider": "Plain",
        "smtp": {"host": "smtp.plain.example", "port": 25, "security": "none"},
        "source": "ispdb",
    }
    table, report = merge(tmp_path, own, mx=[known, other, plain])
    rows = tomllib.loads(table)["provider"]
    assert rows[0]["mx_suffixes"] == ["mx.my-host.example"]
    assert (rows[1]["id"], rows[1]["domains"], rows[1]["mx_suffixes"]) == ("other", [], ["mx.other.example"])
    assert "left out: no safe server is known for the MX suffix mx.plain.example" in report


def test_an_old_row_is_reported(tmp_path: Path) -> None:
    _table, report = merge(tmp_path, ROW.replace("2026-11-24", "2020-01-01"))
    assert "old: my-host" in report


def test_the_example_in_the_documentation_is_a_valid_row(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "providers.md").read_text(encoding="utf-8")
    start = text.index("    [[provider]]")
    block = text[start : text.index("\n\n## ", start)]
    example = "\n".join(line[4:] for line in block.splitlines() if line.startswith("    ") or not line)
    assert schema.faults(tomllib.loads(example)) == []
    assert len(tomllib.loads(example)["provider"]) == 1
