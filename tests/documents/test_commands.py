"""Every command that a document tells a reader to type is typed, on a machine of its own, and does what it should."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.documents.blocks import ROOT, commands, documents
from tests.documents.office import office

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Home

# What cannot be typed here, with the reason. Keep it short.
NOT_TYPED = {
    r"make (demo|test)\b": "`.ci/run` types it",
    r"pipx |sudo apt |python3? -m venv|pip install|ln -s": "tests/packaging installs in clean places",
    r"smtpsetup relay --install|systemctl|systemd|loginctl|journalctl|--system\b": "needs systemd as process 1",
    r"podman |docker ": "tests/packaging/test_container.py",
    r"--client-id|--auth oauth2|(test|login|--account) namn@live.se": "needs Microsoft or Google; tests/workflows",
    r"--transport (graph|gmail)|smtpsetup-app.json": "as above",
    r"@reboot|crontab|schedule --install": "would change the crontab of this machine; test_schedule.py",
    r"mailcluster\.loopia\.se|smtp\.proisp\.no": "needs the provider's own server",
    r"pass show|scp ": "needs another program or another computer",
    r"createuser|createdb|outbox (init|share-key|work|list --sent)": "tests/workflows/test_shared_recipe.py",
    r"git checkout|tools/merge_providers": "for maintainers",
    r"[A-Z]{4,}": "the reader fills in a word",
}
# The exit codes that are right as well, where the answer depends on the machine.
ALSO_RIGHT = {
    "smtpsetup doctor": {69, 75, 78},
    "smtpsetup relay --status": {75},
    "smtpsetup identify namn@live.se": set(),
    "smtpsetup configure namn@live.se": {130},
    "tar czf ~/smtpsetup.tar.gz -C ~ .config/smtpsetup .local": {2},  # only where the relay has clients
}


def not_typed(command: str) -> bool:
    without_variables = re.sub(r"SMTPSETUP_[A-Z_]+|\$[A-Z]+|MAILTO", "", command)
    return any(re.search(pattern, without_variables) for pattern in NOT_TYPED)


@pytest.mark.slow
@pytest.mark.parametrize("document", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_of_a_document_works(document: Path, home: Home) -> None:
    typed = [command for command in commands(document) if not not_typed(command)]
    if not typed:
        return
    language = "sv" if document.name.endswith(".sv.md") else "en"
    with office(home, language) as machine:
        if "configure info@mittforetag.se" not in typed[0]:
            machine.types("smtpsetup configure info@mittforetag.se")
        for command in typed:
            code, shown = machine.types(command)
            allowed = {0} | next((codes for start, codes in ALSO_RIGHT.items() if command.startswith(start)), set())
            assert code in allowed, (command, code, shown)
            for pasted in re.findall(r"`(smtpsetup configure test@example.com [^`]+)`", shown):
                assert machine.types(pasted)[0] == 0, pasted


def test_most_commands_are_typed() -> None:
    every = [command for path in documents() for command in commands(path)]
    assert len(every) > 50
    assert sum(not not_typed(command) for command in every) > len(every) / 2
