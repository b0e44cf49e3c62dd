"""What sending costs: whole processes, paired with other programs, against a real Postfix on the loopback.

The ratio is the median over the pairs. Bytecode is cached, as it is after the first run. Programs run in cron's
environment: HOME, LOGNAME, PATH, no terminal. The script with smtplib is the least that sends a mail: it writes neither
Date nor Message-ID. Needs root and Debian's postfix, sasl2-bin, libsasl2-modules, msmtp, swaks,
libnet-ssleay-perl, gnome-keyring, dbus and libsecret-tools.

`PAIRS=20 python bench/sending.py [ROW...]`; rows that take long are measured in a quarter of the pairs.
"""

from __future__ import annotations

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
from pathlib import Path
from typing import TYPE_CHECKING

import trustme
from loopback import running
from postfix import ADDRESS, PASSWORD, keyring, postfix
from sending_peers import CRON_MAIL, PEAK, TO, ready_made
from sending_site import ROUND_TRIP, SENDMAIL, SMTPSETUP, Program, Row, Site, paired, state_dir, timed

from smtpsetup.config import accounts
from smtpsetup.message.message import Envelope
from smtpsetup.oauth import token_cache
from smtpsetup.outbox.mail import NewMail
from smtpsetup.outbox.sqlite.store import SqliteOutbox
from tests.messages import from_bytes
from tests.servers import free_port  # bench/postfix.py has put the repository on the path

if TYPE_CHECKING:
    from collections.abc import Callable

PAIRS = int(os.environ.get("PAIRS", "20"))
FEW_PAIRS = max(1, PAIRS // 4)
LOADED = 0.5  # seconds after which a program waits for its input
BATCH, LONG_BATCH, MSMTP_MAILS = 300, 1000, 15
MANY, FEW = 10_000, 1000  # mails in the outbox
MEGABYTE = 1_000_000


def cron(site: Site) -> Row:
    """One mail with `send`."""
    return timed("one mail from cron, `send` : script with smtplib", site.by_send(), site.by_script(), 1.05, PAIRS)


def sendmail(site: Site) -> Row:
    """One mail with the sendmail command, which commits it to disk before it connects."""
    work = "one mail from cron, `smtpsetup-sendmail` : script with smtplib that fsyncs message and directory first"
    return timed(work, site.by_sendmail(), site.by_script(is_spooling=True), 0.85, PAIRS)


def commit(site: Site) -> Row:
    """The time from the end of the input to the first connection, which comes after the commit to disk."""
    taken = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        env = site.home("commit", f"--port {port} --security none --auth none --no-verify".split())
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
    """The same, compared with swaks."""
    options = (
        f"--server localhost --port {site.server.port} --tls-on-connect --tls-verify --tls-verify-target localhost "
        f"--tls-ca-path {site.server.ca_file} --auth PLAIN --auth-user {ADDRESS} --auth-password {PASSWORD} "
        f"--from {ADDRESS} --to {TO} --data -"
    )
    swaks = Program(["swaks", *options.split()], site.env, site.cron_mail)
    return timed("one mail from cron, `smtpsetup-sendmail` : swaks", site.by_sendmail(), swaks, 1.0, PAIRS)


def with_keyring(site: Site) -> Row:
    """The secret from an unlocked keyring."""
    ring = site.stack.enter_context(keyring(site.base / "session"))
    options = f"--port {site.server.port} --security tls --ca-file {site.server.ca_file} --password-stdin".split()
    env = site.home("keyring", options, PASSWORD + "\n", DBUS_SESSION_BUS_ADDRESS=ring.address)
    work = "the same, secret from the keyring, `send` : script and secret-tool"
    return timed(work, site.by_send(env), site.by_script(env, "keyring"), 1.0, PAIRS)


def with_token(site: Site) -> Row:
    """A valid access token, compared with a password, at a server that accepts both."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(site.base / "token-ca.pem"))
    certificate = site.base / "token-cert.pem"
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(certificate))
    port = free_port()
    site.stack.enter_context(running("sink", port, certificate))
    options = site.tls_options(port, str(site.base / "token-ca.pem"))
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
        PAIRS,
    )


def batch_round_trips(site: Site) -> Row:
    """The round trips for each of many mails on one connection."""
    env, _port = site.far_home()
    many, one = site.by_batch(env, BATCH), site.by_batch(env, 1)
    ours, first, _ratio = paired(many.run, one.run, FEW_PAIRS, warm_up=False)
    trips = (ours - first) / (BATCH - 1) / ROUND_TRIP
    work = f"{BATCH} mails `--batch`, {ROUND_TRIP * 1000:.0f} ms round trip : one mail ({FEW_PAIRS})"
    return Row(work, f"{ours:.2f} s", f"{first:.2f} s", f"{trips:.2f} round trips a mail", "1.2", trips <= 1.2)  # noqa: PLR2004  the bound itself


def batch_msmtp(site: Site) -> Row:
    """Many mails over several connections, compared with msmtp, which connects for each."""
    env, port = site.far_home()
    own = site.by_batch(env, BATCH, "--connections", "8")
    mail = site.file("mail", ready_made(TO, "Faktura för denna månad.\n" * 20))
    other = site.by_msmtp(port, mail, MSMTP_MAILS)
    ours, theirs, ratio = paired(own.run, lambda: other.run() * BATCH / MSMTP_MAILS, FEW_PAIRS, warm_up=False)
    work = f"the same with `--connections 8` : msmtp in a loop, measured over {MSMTP_MAILS} and scaled ({FEW_PAIRS})"
    return Row(work, f"{ours:.2f} s", f"{theirs:.1f} s", f"1/{1 / ratio:.0f}", "1/30", ratio <= 1 / 30)


def batch_smtplib(site: Site) -> Row:
    """Many mails without latency, compared with one smtplib session whose messages are ready."""
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
    """The peak memory for a large attachment."""
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
    """The time for a large attachment."""
    content = os.urandom(25 * MEGABYTE)
    path = site.file("large.bin", content)
    mail = site.file("large-mail", ready_made(TO, "Backup done\n", content))
    own, other = site.by_send(None, "--attach", str(path)), site.by_msmtp(site.server.port, mail)
    return timed("25 MB attached, `send` : msmtp, message ready", own, other, 0.3, PAIRS)


def outbox(site: Site) -> Row:
    """Whether the cost of a mail in the outbox is independent of their number."""
    env = site.sink_home("outbox")
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
    """Whether mails that end the connection block others, and what they cost."""
    env = site.sink_home("breakers")
    some, none = _flush(site, env, MANY, broken_each=10), _flush(site, env, MANY)
    ours, least, ratio = paired(some.run, none.run, 1, warm_up=False)
    some.run()
    with SqliteOutbox(str(state_dir(env))) as outbox:
        left = [mail.recipients[0] for mail in outbox.mails()]
    sent = MANY - len(left)
    is_kept = sent == MANY * 9 // 10 and all(recipient.startswith("broken") for recipient in left)
    work = f"`outbox flush` of {MANY:,}, of which every tenth ends the connection : none does, to a sink (1)"
    return Row(work, f"{ours:.1f} s, {sent:,} left", f"{least:.1f} s", f"{ratio:.2f} x", "all others leave", is_kept)


def _flush(site: Site, env: dict[str, str], count: int, *, broken_each: int = 0) -> Program:
    """A flush of `count` mails, restored before each run; every `broken_each`-th of them ends the connection."""
    full = site.base / f"outbox-{count}-{broken_each}"
    with SqliteOutbox(str(full), is_durable=False) as filled:
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
