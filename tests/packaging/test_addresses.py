"""The addresses of the project are set in pyproject.toml alone, and every text that names a document has one."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

import catalogue

import smtpsetup
from tests import answers

ROOT = Path(__file__).parents[2]


def test_the_address_of_the_documents_is_that_of_pyproject() -> None:
    urls = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]
    assert urls["Documentation"] == smtpsetup.DOCUMENTATION
    assert answers.SCHEMA["$id"] == f"{smtpsetup.DOCUMENTATION}/schema.json"
    assert all(urlsplit(url).scheme == "https" and urlsplit(url).hostname for url in urls.values())


def test_no_text_for_people_names_a_document_by_a_path() -> None:
    texts = [str(message.id) for message in catalogue.extracted() if message.id]
    named = [text for text in texts if re.search(r"\bdocs\b.*\.md", text)]
    assert len(named) >= 8
    assert [text for text in named if "{docs}/" not in text or re.search(r"(?<![}\w])docs/", text)] == []


def test_every_document_that_a_text_names_exists() -> None:
    texts = " ".join(str(message.id) for message in catalogue.extracted() if message.id)
    names = set(re.findall(r"\{docs\}/([\w.-]+\.md)", texts))
    assert {"oauth2.md", "providers.md", "errors.md"} <= names
    assert [name for name in names if not (ROOT / "docs" / name).exists()] == []
