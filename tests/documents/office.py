"""A machine on which a reader types what a document says: a provider, files, and nothing of this machine's."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pexpect

from tests.rows import provider_row
from tests.servers import missing, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Home

PASSWORD = "sandbox"  # that of the sandbox server
_SMTPS = 465
_FILES = {
    "faktura.txt": "Hej!\n",
    "letter.txt": "Hello $name,\n",
    "text.txt": "Hej $namn!\n",
    "faktura.pdf": "%PDF-1.4\n",
    "fakturor/1.pdf": "%PDF-1.4\n",
    "kunder.csv": "to,namn,nr\nkund@example.com,Åsa,1\n",
    "mails.jsonl": '{"to": "kund@example.com", "subject": "Hej", "body": "Hej!"}\n',
    ".config/mail-password": f"{PASSWORD}\n",
}
# what is typed at a question, by the beginning of a word in it; Enter for any other
_ANSWERS = (
    (r"(Your mail address|Din mejladress)", "info@mittforetag.se"),
    (r"(Sender name|Avsändarnamn)", "Min butik"),
    (r"(Password|Lösenord|password|lösenord) (for|för) ", PASSWORD),
    (r"(Will scripts|Ska skript)", "n"),
    (r"(Client id|Klient-id)", ""),
    (r"(Remove|Throw|[Tt]a bort|Kasta)", "y"),
)
_ENDLESS = re.compile(r"smtpsetup (sandbox|relay)( --(tls-port|port|host) \S+| --tls)*$")
_SECONDS = 60


class Office:
    """The machine, in a network of its own."""

    def __init__(self, home: Home, language: str) -> None:
        if os.getuid() != 0 or not (shutil.which("unshare") and shutil.which("ip")):
            missing("needs root and iproute2: apt-get install iproute2")
        home = home.unmeasured  # other tests measure what these commands cover
        self._home = home
        self._env = {**home.env, "SMTPSETUP_LANG": language, "TERM": "dumb", "MAIL_PASSWORD": PASSWORD}
        self._running: list[subprocess.Popen[str]] = []
        command = ["unshare", "--net", "sh", "-c", "ip link set lo up && echo ready && cat"]
        self._network = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._network.stdout
        assert self._network.stdout.readline() == "ready\n"
        for name, content in _FILES.items():
            home.file(name, content)
        rows = (
            provider_row("one-com", "one.com", "mittforetag.se", port=_SMTPS),
            provider_row("gmail", "Gmail", "gmail.com", port=_SMTPS, auth="app-password"),
        )
        home.file(".config/smtpsetup/providers.toml", "".join(rows))
        authority = re.search(r"\S+ca\.pem", self.start(f"smtpsetup sandbox --tls-port {_SMTPS}"))
        assert authority
        self._env["SSL_CERT_FILE"] = authority.group()

    def close(self) -> None:
        """End every program."""
        for process in reversed(self._running):
            process.terminate()
            process.wait(30)
        self._network.communicate()

    @property
    def output(self) -> Path:
        """What the programs that run on have printed."""
        return self._home.path / "output"

    def types(self, command: str) -> tuple[int, str]:
        """Type a command, and an answer to each question. Returns the exit code and what was shown.

        One that runs on is left running; its exit code is 0 once it has begun.
        """
        if _ENDLESS.fullmatch(command):
            if command.startswith("smtpsetup relay"):
                self._stop_relay()
            return 0, self.start(command)
        terminal = pexpect.spawn(
            self._prefix[0],
            [*self._prefix[1:], "sh", "-c", self._line(command)],
            env=self._env,
            cwd=str(self._home.path),
            encoding="utf-8",
            dimensions=(60, 100),
            timeout=_SECONDS,
        )
        shown = ""
        while terminal.expect([r": $", pexpect.EOF]) == 0:
            question = str(terminal.before).splitlines()[-1] if terminal.before else ""
            shown += str(terminal.before) + str(terminal.after)
            terminal.sendline(next((answer for words, answer in _ANSWERS if re.search(words, question)), ""))
        terminal.close()
        return terminal.exitstatus or 0, shown + str(terminal.before)

    def runs_python(self, script: str, *arguments: str) -> None:
        """Run a program of somebody else's on the machine."""
        subprocess.run([*self._prefix, sys.executable, "-c", script, *arguments], check=True, timeout=_SECONDS)

    def start(self, command: str) -> str:
        """Start a program that runs on. Returns what it prints until it has begun."""
        with self.output.open("a") as output:
            began = output.tell()
            process = subprocess.Popen(
                [*self._prefix, "sh", "-c", self._line(command, replaces_shell=True)],
                env={**self._env, "PYTHONUNBUFFERED": "1"},
                cwd=self._home.path,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
            )
        self._running.append(process)
        wait_for(lambda: self._since(began).count("\n") > 2 or process.poll() is not None, _SECONDS)
        time.sleep(0.5)  # for a program that ends with an error after its first lines
        assert process.poll() is None, self._since(began)
        return self._since(began)

    def _stop_relay(self) -> None:
        """Press Ctrl-C where a relay runs, since there can be only one."""
        for process in [one for one in self._running if "relay" in str(one.args)]:
            process.terminate()
            process.wait(30)
            self._running.remove(process)

    def _since(self, position: int) -> str:
        return self.output.read_bytes()[position:].decode()

    @property
    def _prefix(self) -> list[str]:
        return ["nsenter", f"--target={self._network.pid}", "--net", "--"]

    def _line(self, command: str, *, replaces_shell: bool = False) -> str:
        program = f"{shlex.quote(sys.executable)} -m smtpsetup"
        if replaces_shell:
            return f"exec {command.replace('smtpsetup', program, 1)}"
        return f'smtpsetup() {{ {program} "$@"; }}; {command}'


@contextlib.contextmanager
def office(home: Home, language: str) -> Iterator[Office]:
    """A machine for the time of a test."""
    opened = Office(home, language)
    try:
        yield opened
    finally:
        opened.close()
