"""What sending costs: whole processes beside what people use instead, paired, against a real Postfix on loopback.

The ratio is the median over the pairs. Bytecode is cached, as it is for everyone after the first run. Programs run in
cron's environment: HOME, LOGNAME, PATH, nothing else, no terminal. The script with smtplib does the least that sends a
mail: it writes neither Date nor Message-ID. Needs root and Debian's postfix, sasl2-bin, libsasl2-modules, msmtp, swaks,
libnet-ssleay-perl, gnome-keyring, dbus and libsecret-tools.

`PAIRS=20 python bench/sending.py [ROW...]`; rows that take long are measured in a quarter of the pairs.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import trustme
from loopback import running
from postfix import ADDRESS, PASSWORD, Postfix, keyring, postfix
from sending_peers import CRON_MAIL, LOOP, PEAK, SCRIPT, SPOOLING, TO, ready_made

from smtpsetup.config import accounts
from smtpsetup.message.message import Envelope, from_bytes
from smtpsetup.oauth import token_cache
from smtpsetup.outbox.mail import NewMail
from smtpsetup.outbox.store import Outbox
from tests.servers import free_port  # bench/postfix.py has put the repository on the path

if TYPE_CHECKING:
    from collections.abc import Callable

PAIRS = int(os.environ.get("PAIRS", "20"))
FEW_PAIRS = max(1, PAIRS // 4)
SMTPSETUP = str(Path(sys.executable).with_name("smtpsetup"))
SENDMAIL = str(Path(sys.executable).with_name("smtpsetup-sendmail"))
MSMTP_ACCOUNT = "auth plain\ntls on\ntls_starttls off\nhost localhost\n"
ROUND_TRIP = 0.05  # seconds
LOADED = 0.5  # seconds after which a program waits for its input
BATCH, LONG_BATCH, MSMTP_MAILS = 300, 1000, 15
MANY, FEW = 10_000, 1000  # mails in the outbox
MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    work: str
    ours: str
    peer: str
    figure: str
    bound: str
    is_kept: bool


@dataclass(frozen=True)
class Program:
    """A command, its environment and its standard input."""

    argv: list[str]
    env: dict[str, str]
    stdin: Path = Path(os.devnull)
    prepare: Callable[[], object] = bool

    def run(self) -> float:
        """How long one run takes, start to end, in seconds. One that fails ends the bench."""
        self.prepare()
        with self.stdin.open("rb") as stdin:
            started = time.perf_counter()
            done = subprocess.run(self.argv, env=self.env, stdin=stdin, capture_output=True, check=False)
            taken = time.perf_counter() - started
        if done.returncode or (done.stdout and self.argv[0] in (SMTPSETUP, SENDMAIL)):
            sys.exit(
                f"{self.argv}: exit {done.returncode}\n{done.stdout.decode()[-2000:]}\n{done.stderr.decode()[-2000:]}"
            )
        return taken


def paired(
    own: Callable[[], float], other: Callable[[], float], pairs: int, *, warm_up: bool = True
) -> tuple[float, float, float]:
    """The medians of both, and of their ratio. Who goes first changes from pair to pair."""
    if warm_up:
        own(), other()
    found = []
    for number in range(pairs):
        if number % 2:
            theirs, ours = other(), own()
        else:
            ours, theirs = own(), other()
        found.append((ours, theirs))
    return (
        statistics.median(pair[0] for pair in found),
        statistics.median(pair[1] for pair in found),
        statistics.median(a / b for a, b in found),
    )


def timed(work: str, own: Program, other: Program, bound: float, pairs: int = PAIRS) -> Row:
    """A row of two times and their ratio."""
    ours, theirs, ratio = paired(own.run, other.run, pairs)
    return Row(
        f"{work} ({pairs})",
        f"{ours * 1000:.0f} ms",
        f"{theirs * 1000:.0f} ms",
        f"{ratio:.2f} x",
        f"{bound:.2f} x",
        ratio <= bound,
    )


class Site:
    """A server, and people who send through it, each with a home of their own."""

    def __init__(self, base: Path, server: Postfix, stack: ExitStack) -> None:
        self.base = base
        self.server = server
        self.stack = stack
        self.password = self.file("password", PASSWORD + "\n", 0o600)
        self.text = self.file("text", "Backup done\n")
        self.cron_mail = self.file("cron-mail", CRON_MAIL)
        self.script = self.file("script.py", SCRIPT)
        self.spooling_script = self.file("spooling.py", SPOOLING)
        self.loop = self.file("loop.py", LOOP)
        self.env = self.home("cron", ["--port", str(server.port), *self._safe, "--password-file", str(self.password)])

    @property
    def _safe(self) -> list[str]:
        return ["--security", "tls", "--ca-file", self.server.ca_file]

    def file(self, name: str, content: str | bytes, mode: int = 0o644) -> Path:
        """A file in the site's directory."""
        path = self.base / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        path.chmod(mode)
        return path

    def home(self, name: str, options: list[str], stdin: str = "", **env: str) -> dict[str, str]:
        """A home with an account; the environment that cron would give its owner."""
        path = self.base / f"home-{name}"
        path.mkdir(mode=0o700)
        given = {"HOME": str(path), "LOGNAME": "root", "PATH": "/usr/bin:/bin", **env}
        command = [SMTPSETUP, "configure", ADDRESS, "--host", "localhost", *options, "--from-name", "", "--default"]
        subprocess.run(command, env=given, input=stdin, text=True, capture_output=True, check=True)
        return given

    def far_home(self) -> tuple[dict[str, str], int]:
        """A home whose server is ROUND_TRIP away, and the port that is the server to it."""
        port = free_port()
        self.stack.enter_context(running("delay", port, self.server.port, ROUND_TRIP / 2))
        return self.home("far", ["--port", str(port), *self._safe, "--password-file", str(self.password)]), port

    def by_script(self, env: dict[str, str] | None = None, secret: str = "", *, is_spooling: bool = False) -> Program:
        """The script with smtplib; one `is_spooling` has the message on the disk first, as sendmail has."""
        argv = [
            sys.executable,
            str(self.spooling_script if is_spooling else self.script),
            str(self.server.port),
            self.server.ca_file,
            ADDRESS,
            secret or str(self.password),
            TO,
        ]
        return Program(argv, env or self.env, self.text)

    def by_send(self, env: dict[str, str] | None = None, *options: str) -> Program:
        """`smtpsetup send`."""
        return Program([SMTPSETUP, "send", TO, "-s", "Backup", *options], env or self.env, self.text)

    def by_sendmail(self, env: dict[str, str] | None = None) -> Program:
        """`smtpsetup-sendmail`, called as Debian's cron calls sendmail."""
        return Program([SENDMAIL, "-FCronDaemon", "-i", "-B8BITMIME", "-oem", TO], env or self.env, self.cron_mail)

    def by_msmtp(self, port: int, mail: Path, count: int = 1) -> Program:
        """The program msmtp, its password in its own configuration; several times in a loop of the shell."""
        lines = (
            f"port {port}\nuser {ADDRESS}\npassword {PASSWORD}\nfrom {ADDRESS}\ntls_trust_file {self.server.ca_file}\n"
        )
        settings = self.file(f"msmtprc-{port}", f"defaults\naccount default\n{MSMTP_ACCOUNT}{lines}", 0o600)
        loop = f'n=0; while [ $n -lt {count} ]; do msmtp -C "$0" {TO} < "$1" || exit 1; n=$((n+1)); done'
        return Program(["sh", "-c", loop, str(settings), str(mail)], self.env)

    def by_batch(self, env: dict[str, str], count: int, *options: str) -> Program:
        """`smtpsetup send --batch`, its counters of mail sent earlier cleared before each run."""
        rows = (
            {"to": f"kund{n}@example.test", "subject": f"Faktura {n}", "body": f"Faktura {n} för denna månad.\n" * 20}
            for n in range(count)
        )
        lines = self.file(f"batch-{count}.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
        argv = [SMTPSETUP, "send", "--batch", str(lines), *options]
        return Program(argv, env, prepare=lambda: shutil.rmtree(state_dir(env), ignore_errors=True))


def state_dir(env: dict[str, str]) -> Path:
    """Where smtpsetup keeps what it remembers in a home."""
    return Path(env["HOME"], ".local", "state", "smtpsetup")


def cron(site: Site) -> Row:
    """One mail with `send`."""
    return timed("one mail from cron, `send` : script with smtplib", site.by_send(), site.by_script(), 1.05)


def sendmail(site: Site) -> Row:
    """One mail with the sendmail command, which has it on the disk before it connects."""
    work = "one mail from cron, `smtpsetup-sendmail` : script with smtplib that fsyncs message and directory first"
    return timed(work, site.by_sendmail(), site.by_script(is_spooling=True), 0.85)


def commit(site: Site) -> Row:
    """How long after the end of its input a mail is on the disk at the latest: the connection comes after that."""
    taken = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        env = site.home("commit", ["--port", str(port), "--security", "none", "--auth", "none", "--no-verify"])
        for _run in range(PAIRS):
            process = subprocess.Popen([SENDMAIL, "-i", TO], env=env, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
            assert process.stdin
            process.stdin.write(CRON_MAIL.encode())
            process.stdin.flush()
            time.sleep(LOADED)
            ended = time.perf_counter()
            process.stdin.close()
            client, _peer = listener.accept()
            taken.append(time.perf_counter() - ended)
            process.kill()
            process.wait()
            client.close()
    ours, most = statistics.median(taken) * 1000, max(taken) * 1000
    work = f"`smtpsetup-sendmail` from the end of its input to its first connection, the commit before it ({PAIRS})"
    return Row(work, f"{ours:.0f} ms", f"at most {most:.0f} ms", f"{ours:.0f} ms", "50 ms", ours <= 50)  # noqa: PLR2004  the bound itself


def sendmail_swaks(site: Site) -> Row:
    """The same beside swaks."""
    argv = [
        "swaks",
        "--server",
        "localhost",
        "--port",
        str(site.server.port),
        "--tls-on-connect",
        "--tls-verify",
        "--tls-ca-path",
        site.server.ca_file,
    ]
    argv += [
        "--auth",
        "PLAIN",
        "--auth-user",
        ADDRESS,
        "--auth-password",
        PASSWORD,
        "--from",
        ADDRESS,
        "--to",
        TO,
        "--data",
        "-",
    ]
    swaks = Program([*argv, "--tls-verify-target", "localhost"], site.env, site.cron_mail)
    return timed("one mail from cron, `smtpsetup-sendmail` : swaks", site.by_sendmail(), swaks, 1.0)


def keyring_env(site: Site) -> dict[str, str]:
    """A home whose password is in an open keyring."""
    ring = site.stack.enter_context(keyring(site.base / "session"))
    options = [
        "--port",
        str(site.server.port),
        "--security",
        "tls",
        "--ca-file",
        site.server.ca_file,
        "--password-stdin",
    ]
    return site.home("keyring", options, PASSWORD + "\n", DBUS_SESSION_BUS_ADDRESS=ring.address)


def with_keyring(site: Site) -> Row:
    """The secret from the keyring."""
    env = keyring_env(site)
    work = "the same, secret from the keyring, `send` : script and secret-tool"
    return timed(work, site.by_send(env), site.by_script(env, "keyring"), 1.0)


def with_token(site: Site) -> Row:
    """An access token that is still good beside a password, at a server that takes both."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(site.base / "token-ca.pem"))
    certificate = site.base / "token-cert.pem"
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(certificate))
    port = free_port()
    site.stack.enter_context(running("sink", port, certificate))
    options = [
        "--port",
        str(port),
        "--security",
        "tls",
        "--ca-file",
        str(site.base / "token-ca.pem"),
        "--password-file",
        str(site.password),
    ]
    password, token = site.home("token-password", options), site.home("token", options)
    config = Path(token["HOME"], ".config", "smtpsetup", "config.toml")
    row = 'oauth2 = { client_id = "bench", token_endpoint = "https://localhost:1/", scope = "mail" }\n'
    config.write_text(config.read_text().replace('auth = "password"\n', f'auth = "oauth2"\n{row}'))
    now = time.time()
    account = accounts.load(str(config)).account(ADDRESS)
    assert account.oauth2
    kept = token_cache.CachedTokens(
        secrets.token_urlsafe(1125), now + 86_400, token_cache.owner_of(account, account.oauth2), now
    )
    token_cache.save(str(state_dir(token)), ADDRESS, kept)
    return timed(
        "one mail from cron with an access token : with a password from a file",
        site.by_send(token),
        site.by_send(password),
        1.1,
    )


def batch_round_trips(site: Site) -> Row:
    """How many round trips a mail of many costs on one connection."""
    env, _port = site.far_home()
    many, one = site.by_batch(env, BATCH), site.by_batch(env, 1)
    ours, first, _ratio = paired(many.run, one.run, FEW_PAIRS, warm_up=False)
    trips = (ours - first) / (BATCH - 1) / ROUND_TRIP
    work = f"{BATCH} mails `--batch`, {ROUND_TRIP * 1000:.0f} ms round trip : one mail ({FEW_PAIRS})"
    return Row(work, f"{ours:.2f} s", f"{first:.2f} s", f"{trips:.2f} round trips a mail", "1.2", trips <= 1.2)  # noqa: PLR2004  the bound itself


def batch_msmtp(site: Site) -> Row:
    """Many mails over several connections beside msmtp, which makes one for each."""
    env, port = site.far_home()
    own = site.by_batch(env, BATCH, "--connections", "8")
    mail = site.file("mail", ready_made(TO, "Faktura för denna månad.\n" * 20))
    other = site.by_msmtp(port, mail, MSMTP_MAILS)
    ours, theirs, ratio = paired(own.run, lambda: other.run() * BATCH / MSMTP_MAILS, FEW_PAIRS, warm_up=False)
    work = f"the same with `--connections 8` : msmtp in a loop, measured over {MSMTP_MAILS} and scaled ({FEW_PAIRS})"
    return Row(work, f"{ours:.2f} s", f"{theirs:.1f} s", f"1/{1 / ratio:.0f}", "1/30", ratio <= 1 / 30)


def batch_smtplib(site: Site) -> Row:
    """Many mails without a way between, beside one session of smtplib that has them ready."""
    mails = [ready_made(f"kund{n}@example.test", f"Faktura {n} för denna månad.\n" * 20) for n in range(LONG_BATCH)]
    argv = [sys.executable, str(site.loop), str(site.server.port), site.server.ca_file, ADDRESS, str(site.password)]
    other = Program([*argv, str(site.file("mails", b"\0".join(mails)))], site.env)
    return timed(
        f"{LONG_BATCH} mails `--batch` : smtplib, messages ready",
        site.by_batch(site.env, LONG_BATCH),
        other,
        1.0,
        FEW_PAIRS,
    )


def attach_memory(site: Site) -> Row:
    """What a large attachment takes of the memory."""
    large, small = site.file("large.bin", os.urandom(25 * MEGABYTE)), site.file("small.bin", os.urandom(1000))

    def peak(path: Path) -> float:
        program = site.by_send(None, "--attach", str(path))
        with program.stdin.open("rb") as stdin:
            done = subprocess.run(
                [sys.executable, "-c", PEAK, *program.argv],
                env=program.env,
                stdin=stdin,
                capture_output=True,
                check=True,
            )
        return int(done.stdout) * 1024 / MEGABYTE

    ours, least, _ratio = paired(lambda: peak(large), lambda: peak(small), FEW_PAIRS)
    more, bound = ours - least, 3
    work = f"peak memory of `send --attach`, 25 MB : 1 kB ({FEW_PAIRS})"
    return Row(work, f"{ours:.1f} MB", f"{least:.1f} MB", f"{more:.1f} MB more", f"{bound} MB", more <= bound)


def attach_time(site: Site) -> Row:
    """How long a large attachment takes."""
    content = os.urandom(25 * MEGABYTE)
    path = site.file("large.bin", content)
    mail = site.file("large-mail", ready_made(TO, "Backup done\n", content))
    own, other = site.by_send(None, "--attach", str(path)), site.by_msmtp(site.server.port, mail)
    return timed("25 MB attached, `send` : msmtp, message ready", own, other, 0.3)


def outbox(site: Site) -> Row:
    """Whether a mail of the outbox costs the same however many there are."""
    port = free_port()
    site.stack.enter_context(running("sink", port))
    env = site.home("outbox", ["--port", str(port), "--security", "none", "--auth", "none"])
    flushes = [_flush(site, env, count) for count in (MANY, FEW, 1)]
    for flush in flushes:
        flush.run()
    found: list[list[float]] = []
    for number in range(FEW_PAIRS):
        times = [flush.run() for flush in (flushes[::-1] if number % 2 else flushes)]
        many, few, one = times[::-1] if number % 2 else times
        found.append([(many - one) / (MANY - 1), (few - one) / (FEW - 1)])
    ours, least = (statistics.median(pair[side] for pair in found) * 1000 for side in (0, 1))
    ratio = statistics.median(many / few for many, few in found)
    work = f"a mail of `outbox flush`, {MANY:,} waiting : {FEW:,}, to a sink ({FEW_PAIRS})"
    return Row(work, f"{ours:.2f} ms", f"{least:.2f} ms", f"{ratio:.2f} x", "1.10 x", ratio <= 1.1)  # noqa: PLR2004  the bound itself


def breakers(site: Site) -> Row:
    """Whether mails that end the connection keep others from being sent, and what they cost."""
    port = free_port()
    site.stack.enter_context(running("sink", port))
    env = site.home("breakers", ["--port", str(port), "--security", "none", "--auth", "none"])
    some, none = _flush(site, env, MANY, broken_each=10), _flush(site, env, MANY)
    ours, least, ratio = paired(some.run, none.run, 1, warm_up=False)
    some.run()
    with Outbox(str(state_dir(env))) as outbox:
        left = [mail.recipients[0] for mail in outbox.mails()]
    sent = MANY - len(left)
    is_kept = sent == MANY * 9 // 10 and all(recipient.startswith("broken") for recipient in left)
    work = f"`outbox flush` of {MANY:,}, of which every tenth ends the connection : none does, to a sink (1)"
    return Row(work, f"{ours:.1f} s, {sent:,} left", f"{least:.1f} s", f"{ratio:.2f} x", "all others leave", is_kept)


def _flush(site: Site, env: dict[str, str], count: int, *, broken_each: int = 0) -> Program:
    """A flush of so many mails, put back before each run; every so many-th of them ends the connection."""
    full = site.base / f"outbox-{count}-{broken_each}"
    with Outbox(str(full), is_durable=False) as filled:
        for number in range(count):
            is_broken = broken_each and number % broken_each == 0
            to = f"{'broken' if is_broken else 'kund'}{number}@example.test"
            message = from_bytes(ready_made(to, "Backup done\n").replace(b"\n", b"\r\n"))
            filled.add(NewMail(ADDRESS, Envelope(ADDRESS, (to,)), message, f"<{number}@example.test>", "Faktura"))

    def put_back() -> None:
        shutil.rmtree(state_dir(env), ignore_errors=True)
        shutil.copytree(full, state_dir(env))

    return Program([SMTPSETUP, "outbox", "flush"], env, prepare=put_back)


ROWS: dict[str, Callable[[Site], Row]] = {
    "cron": cron,
    "sendmail": sendmail,
    "commit": commit,
    "sendmail-swaks": sendmail_swaks,
    "keyring": with_keyring,
    "token": with_token,
    "batch-round-trips": batch_round_trips,
    "batch-msmtp": batch_msmtp,
    "batch-smtplib": batch_smtplib,
    "attach-memory": attach_memory,
    "attach-time": attach_time,
    "outbox": outbox,
    "breakers": breakers,
}


PEERS = {
    "swaks": "swaks libnet-ssleay-perl libauthen-sasl-perl",
    "msmtp": "msmtp",
    "secret-tool": "libsecret-tools",
    "postfix": "postfix sasl2-bin",
}


def main() -> None:
    """Print the table."""
    wanted = sys.argv[1:] or list(ROWS)
    unknown = [name for name in wanted if name not in ROWS]
    if unknown:
        sys.exit(f"no row {', '.join(unknown)}; there are: {', '.join(ROWS)}")
    missing = [program for program in PEERS if not shutil.which(program)]
    if missing:
        sys.exit(f"not installed: {', '.join(missing)}; on Debian: apt-get install {' '.join(PEERS.values())}")
    signal.signal(signal.SIGTERM, lambda *_rest: sys.exit(143))  # so that the servers are stopped
    print("work, ours : peer (pairs)\n  ours | peer | median of the pairs' ratios | bound", flush=True)
    with tempfile.TemporaryDirectory() as directory, postfix(Path(directory, "postfix")) as server:
        for name in wanted:
            base = Path(directory, name)
            base.mkdir()
            with ExitStack() as stack:
                row = ROWS[name](Site(base, server, stack))
            shutil.rmtree(base)
            print(f"{name}: {row.work}")
            print(
                f"  {row.ours} | {row.peer} | {row.figure} | {row.bound}{'' if row.is_kept else '   NOT KEPT'}",
                flush=True,
            )


if __name__ == "__main__":
    main()
