"""Run identify, configure, test and send against the sandbox in a temporary home, and show the mail that arrived."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SMTPSETUP = str(Path(sys.executable).with_name("smtpsetup"))
BOLD, PLAIN = ("\033[1;36m", "\033[0m") if sys.stdout.isatty() else ("", "")


def free_port() -> int:
    """A port on which no server listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def wait_for(port: int) -> None:
    """Wait until a server listens; exits after ten seconds."""
    for _attempt in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    sys.exit("The sandbox did not start.")


def run(home: Path, *arguments: str, stdin: str = "", expected: int = 0) -> None:
    """Show a command and run it; exits on another exit code than the expected one."""
    shown = " ".join(f"'{argument}'" if " " in argument else argument for argument in arguments)
    print(f"\n{BOLD}$ {f'echo {stdin!r} | ' if stdin else ''}smtpsetup {shown}{PLAIN}", flush=True)
    done = subprocess.run(
        [SMTPSETUP, *arguments], env=environment(home), cwd=home, input=stdin or None, text=True, check=False
    )
    if done.returncode != expected:
        sys.exit(f"smtpsetup ended with {done.returncode} instead of {expected}.")


def environment(home: Path) -> dict[str, str]:
    """The environment without the user's own configuration."""
    kept = {
        name: os.environ[name]
        for name in ("PATH", "LANG", "LANGUAGE", "LC_ALL", "SMTPSETUP_LANG", "TERM", "NO_COLOR", "SYSTEMROOT")
        if name in os.environ
    }
    return {**kept, "HOME": str(home), "XDG_CONFIG_HOME": str(home / ".config")}


def main() -> None:
    """Run the demo."""
    with tempfile.TemporaryDirectory(prefix="smtpsetup-demo-") as directory:
        home = Path(directory)
        tls_port, starttls_port = free_port(), free_port()
        password = home / "password"
        password.touch(mode=0o600)
        password.write_text("sandbox\n", encoding="utf-8")
        (home / "faktura.txt").write_text("4711\n", encoding="utf-8")
        mails = home / "mails.txt"
        options = f"--keep mails --tls-port {tls_port} --starttls-port {starttls_port} --count 2".split()
        command = [SMTPSETUP, "sandbox", *options]
        with mails.open("wb") as out:
            server = subprocess.Popen(command, env=environment(home), cwd=home, stdin=subprocess.DEVNULL, stdout=out)
        try:
            wait_for(tls_port)
            run(home, "identify", "namn@live.se")
            # offline, so that the demo shows the same without a network
            run(home, "identify", "info@mittforetag.se", "--offline", expected=68)
            trusted = ("--ca-file", "mails/ca.pem", "--password-file", "password")
            where = ("--host", "localhost", "--port", str(tls_port), "--security", "tls")
            run(home, "configure", "info@mittforetag.se", *where, *trusted, "--from-name", "Mitt Företag AB")
            run(home, "test")
            mail = ("kund@example.com", "-s", "Faktura 4711", "--attach", "faktura.txt")
            run(home, "send", *mail, stdin="Hej! Här kommer fakturan.")
            server.wait(20)
        finally:
            server.kill()
        print(f"\n{BOLD}# what the sandbox server received{PLAIN}\n", flush=True)
        text = mails.read_text(encoding="utf-8")
        print(text[text.index("──") :])


if __name__ == "__main__":
    main()
