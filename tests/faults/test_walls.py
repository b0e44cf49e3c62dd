"""What went wrong because the same thing stood in two places."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from smtpsetup.outbox.store import Outbox
from tests.recording import RecordingServer, new_mail, plain_account, state_dir
from tests.sendmail import log_lines, sendmail
from tests.servers import closed_port

if TYPE_CHECKING:
    from tests.conftest import Home

MESSAGE = "To: kund@example.com\nSubject: x\n\nHej\n"


@pytest.mark.parametrize(("log", "lines"), [("file", 1), ("none", 0), ("syslog", 0)])
def test_send_logs_where_the_configuration_says(home: Home, log: str, lines: int) -> None:
    with RecordingServer() as server:
        plain_account(home, server.port)
        home.config.write_text(f'log = "{log}"\n{home.config.read_text()}')
        assert home.run("send", "kund@example.com", "--body", "x").code == 0
    assert len(log_lines(home)) == lines


@pytest.mark.parametrize("named", ["option", "variable"])
def test_a_queued_mail_is_sent_with_the_configuration_it_was_queued_with(home: Home, named: str) -> None:
    with RecordingServer() as own, RecordingServer() as other:
        plain_account(home, own.port)
        usual = home.config.read_text()
        path = home.file("other.toml", usual.replace(str(own.port), str(other.port)))
        with Outbox(state_dir(home)) as outbox:
            outbox.add(new_mail(1))
            outbox.add(new_mail(2)._replace(config=str(path)))
        arguments, env = (("--config", str(path)), {}) if named == "option" else ((), {"SMTPSETUP_CONFIG": str(path)})
        assert home.run(*arguments, "outbox", "flush", **env).code == 0
    assert own.message_ids == ["<1@test.example>"]
    assert other.message_ids == ["<2@test.example>"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_sandbox_in_the_background_of_a_script_can_be_terminated(home: Home, number: signal.Signals) -> None:
    """A shell without job control starts what is behind & with SIGINT ignored."""
    script = '"$0" -m smtpsetup sandbox --json & echo $!; wait $!; echo "ended $?"'
    with subprocess.Popen(
        ["sh", "-c", script, sys.executable], env=home.env, cwd=home.path, stdout=subprocess.PIPE, text=True
    ) as shell:
        assert shell.stdout
        pid = int(shell.stdout.readline())
        assert "tls_port" in shell.stdout.readline()
        subprocess.run(["kill", f"-{number.name.removeprefix('SIG')}", str(pid)], check=True)
        rest = shell.stdout.read()
    assert rest.strip().splitlines()[-1] in {"ended 0", "ended 130", "ended 143"}, rest


def test_sendmail_does_not_take_a_local_relay_for_a_providers_bridge(home: Home) -> None:
    with closed_port() as port:
        plain_account(home, port, host='"127.0.0.1"')
        done = sendmail(home, "-t", "-a", "a", stdin=MESSAGE, SMTPSETUP_STATE_DIR=str(home.path / "state"))
        assert "Proton" not in done.err + "".join(log_lines(home))
        with Outbox(str(home.path / "state")) as outbox:
            (mail,) = outbox.mails()
    assert "Proton" not in mail.last_reply
