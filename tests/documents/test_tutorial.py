"""A shop owner who knows only the tutorial: from nothing to a mail out of an order program's form, in five minutes."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import pytest

from tests.documents.blocks import ROOT, commands
from tests.documents.office import office
from tests.servers import wait_for

if TYPE_CHECKING:
    from tests.conftest import Home

_FORM = """
import smtplib, sys
server, port, user, password, sender = sys.argv[1:]
with smtplib.SMTP(server, int(port), timeout=30) as program:
    program.login(user, password)
    program.sendmail(sender, ["kund@example.com"], "Subject: Order 17\\r\\n\\r\\nTack!\\r\\n")
"""


@pytest.mark.slow
def test_the_tutorial_for_servers_leads_to_a_line_that_cron_can_run(home: Home) -> None:
    typed = [command for command in commands(ROOT / "docs" / "tutorial.md") if "--unattended" in command]
    with office(home, "en") as machine:
        code, shown = machine.types(typed[0])
        assert code == 0, shown
        line = next(line for line in shown.splitlines() if re.match(r"0 3 \* \* \* ", line))
        assert machine.types(f"env -i HOME={home.path} PATH=/usr/bin:/bin sh -c '{line[10:]}'")[0] == 0
        wait_for(lambda: "Backup" in machine.output.read_text(encoding="utf-8"), 30)


@pytest.mark.slow
def test_the_tutorial_leads_from_nothing_to_a_mail_of_the_order_program(home: Home) -> None:
    started = time.monotonic()
    typed = commands(ROOT / "docs" / "tutorial.sv.md")
    chapter = typed[1 : typed.index("smtpsetup card") + 1]  # after the installation
    password = ""
    with office(home, "sv") as machine:
        for command in chapter:
            code, shown = machine.types(command)
            assert code == 0, (command, shown)
            for pasted in re.findall(r"`(smtpsetup configure test@example.com [^`]+)`", shown):
                code, shown = machine.types(pasted)
                assert code == 0, shown
            found = re.search(r"(?m)^ *Lösenord +(\S{16,})", shown)
            password = found[1] if found else password
        fields = dict(re.findall(r"(?m)^ +(Server|Port|Användarnamn|Avsändare) +(\S+)", shown.partition("\r\n\r\n")[0]))
        form = (fields["Server"], fields["Port"], fields["Användarnamn"], password, fields["Avsändare"])
        machine.runs_python(_FORM, *form)
        wait_for(lambda: "Order 17" in machine.output.read_text(encoding="utf-8"), 30)
    assert time.monotonic() - started < 300
