"""What msmtp, swaks, curl, plain smtplib and smtpsetup report about the same failures, and their exit codes.

`python bench/peers.py > docs/peers.md` writes the page. The faults are those of the sandbox. Needs Debian's msmtp,
swaks, libnet-ssleay-perl and curl.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from smtpsetup.sandbox.fault_server import FaultServer
from smtpsetup.sandbox.faults import FAULTS

if TYPE_CHECKING:
    from smtpsetup.sandbox.server import SandboxFacts

SMTPSETUP = str(Path(sys.executable).with_name("smtpsetup"))
SECONDS = 50  # for one program
SHOWN = 220  # characters of an answer
CODES = (
    "connect.refused",
    "connect.port-blocked",
    "tls.certificate-expired",
    "tls.hostname-mismatch",
    "tls.untrusted",
    "tls.not-spoken",
    "tls.expected",
    "greeting.not-smtp",
    "ehlo.name-rejected",
    "starttls.not-offered",
    "auth.not-offered",
    "auth.bad-credentials",
    "auth.app-password-required",
    "auth.oauth2-required",
    "auth.disabled-by-admin",
    "auth.temporary",
    "mail.sender-not-allowed",
    "rcpt.unknown",
    "rcpt.greylisted",
    "data.too-large",
    "data.content-rejected",
    "data.lost-before-reply",
    "limit.quota",
    "connection.lost",
)
MAIL = "From: info@example.com\r\nTo: to@example.com\r\nSubject: x\r\n\r\nx\r\n"
SMTPLIB = """
import smtplib, ssl, sys
host, port, security, ca = "localhost", int(sys.argv[1]), sys.argv[2], sys.argv[3]
context = ssl.create_default_context(cafile=ca)
kind = smtplib.SMTP_SSL if security == "tls" else smtplib.SMTP
server = kind(host, port, timeout=15, **({"context": context} if security == "tls" else {}))
if security == "starttls":
    server.starttls(context=context)
server.login("info@example.com", "sandbox")
server.sendmail("info@example.com", ["to@example.com"], sys.stdin.read())
"""


def commands(facts: SandboxFacts, port: int, security: str, home: Path) -> dict[str, list[str]]:
    """The command with which each program sends the same mail."""
    is_implicit = security == "tls"
    msmtp = (
        "--host=localhost --auth=on --user=info@example.com --from=info@example.com --tls=on --timeout=15 "
        f"--port={port} --tls-starttls={'off' if is_implicit else 'on'} --tls-trust-file={facts.ca_file}"
    )
    swaks = (
        "--server localhost --auth PLAIN --auth-user info@example.com --auth-password sandbox --from info@example.com "
        f"--to to@example.com --timeout 15 --port {port} {'--tls-on-connect' if is_implicit else '--tls'} "
        f"--tls-verify --tls-verify-target localhost --tls-ca-path {facts.ca_file}"
    )
    curl = (
        f"-sS {'smtps' if is_implicit else 'smtp'}://localhost:{port} --ssl-reqd --cacert {facts.ca_file} "
        "--user info@example.com:sandbox --mail-from info@example.com --mail-rcpt to@example.com "
        "--upload-file - --max-time 15"
    )
    return {
        "msmtp": ["msmtp", *msmtp.split(), "--passwordeval=echo sandbox", "to@example.com"],
        "swaks": ["swaks", *swaks.split()],
        "curl": ["curl", *curl.split()],
        "smtplib": [sys.executable, "-c", SMTPLIB, str(port), security, facts.ca_file],
        "smtpsetup": [
            SMTPSETUP,
            "--config",
            str(home / "config.toml"),
            "test",
            "fault@example.com",
            "--to",
            "to@example.com",
        ],
    }


def reported(command: list[str], env: dict[str, str]) -> tuple[str, str]:
    """What a program wrote to standard error, or else output, in one line; and its exit code."""
    try:
        done = subprocess.run(
            command,
            env=env,
            input=MAIL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
            errors="replace",
        )
    except subprocess.TimeoutExpired:
        return "(nothing, for a whole minute)", "-"
    text = done.stderr.strip() or done.stdout.strip()
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if command[0] == "swaks":
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith(("*** ", "<**", "<~*"))]
    if command[0].endswith("smtpsetup"):
        lines = [line for line in lines if line.startswith("Error: ")] + [
            line for line in lines if re.match(r"1\. ", line)
        ]
    elif "-c" in command:
        lines = lines[-1:]
    shown = " ".join(lines)
    return (shown[:SHOWN] + "…" if len(shown) > SHOWN else shown) or "(nothing)", str(done.returncode)


def main() -> None:
    """Print the page."""
    missing = [name for name in ("msmtp", "swaks", "curl") if not shutil.which(name)]
    if missing:
        sys.exit(f"apt-get install {' '.join(missing)} libnet-ssleay-perl")
    print("# The same failures, told by five programs\n")
    print(
        "Made by `python bench/peers.py` against the servers of `smtpsetup sandbox --fault CODE`. Each program was "
        "given the right password and was"
    )
    print(
        "told to verify TLS. For smtpsetup, the sentence and the first step are shown; `smtpsetup sandbox --fault "
        "CODE` shows the whole answer.\n"
    )
    for code in CODES:
        print(f"## `{code}`\n\n| program | exit | what it told |\n| --- | --- | --- |")
        for program, (text, exit_code) in compared(code).items():
            print(f"| {program} | {exit_code} | {text.replace('|', chr(92) + '|').replace('<', '&lt;')} |")
        print(flush=True)


def compared(code: str) -> dict[str, tuple[str, str]]:
    """What each program reports about one fault, and its exit code."""
    fault = FAULTS[code]
    with tempfile.TemporaryDirectory() as directory, FaultServer(Path(directory), fault, ports=fault.ports) as facts:
        home = Path(directory)
        env = {"PATH": os.environ["PATH"], "HOME": directory, "LANG": "C.UTF-8", "PYTHONWARNINGS": "ignore"}
        needs = shlex.split(fault.needs)
        security = needs[needs.index("--security") + 1] if "--security" in needs else "tls"
        port = facts.tls_port if security == "tls" else facts.starttls_port
        asked = commands(facts, port, security, home)
        (home / "password").write_text("sandbox\n", encoding="ascii")
        (home / "password").chmod(0o600)
        configure = (
            f"--config {home}/config.toml configure fault@example.com --host localhost --port {port} "
            f"--security {security} --ca-file {facts.ca_file} --password-file {home}/password --no-verify"
        )
        command = [SMTPSETUP, *configure.split()]
        subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True, check=True)
        found = {}
        for program, command in asked.items():
            text, exit_code = reported(command, env)
            found[program] = (text.replace(directory, "DIR").replace(str(port), "PORT"), exit_code)
        return found


if __name__ == "__main__":
    main()
