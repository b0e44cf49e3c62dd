"""A mail by Microsoft Graph beside one over SMTP, on a link of 50 ms: the round trips, against the fewest possible.

`python bench/api.py`. Both servers are on this machine, behind a proxy that adds the latency; what a send takes without
it is subtracted. The proxy accepts a TCP connection at once, so that the round trip of TCP is in neither figure. The
fewest are: for HTTPS one for TLS 1.3 and one for the request; for SMTP with implicit TLS one each for TLS, the
greeting, EHLO, AUTH, the envelope, the message and QUIT.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import trustme
from loopback import running

from tests.graph_server import GraphServer
from tests.servers import free_port

ADDRESS = "info@example.test"
ROUND_TRIP = 0.05  # seconds
RUNS = 7
TOKEN = "a-token-for-the-bench"
SMTPSETUP = str(Path(sys.executable).with_name("smtpsetup"))
FEWEST = {"graph": 2, "smtp": 7}
TOLERANCE = 0.7  # of a round trip: the noise of whole processes


def home(base: Path, name: str, *options: str) -> dict[str, str]:
    """A home with an account; its environment."""
    path = base / name
    path.mkdir()
    env = {"HOME": str(path), "PATH": os.environ["PATH"]}
    command = [SMTPSETUP, "configure", ADDRESS, "--from-name", "", "--no-verify", "--no-input", *options]
    subprocess.run(command, env=env, check=True, capture_output=True)
    return env


def seconds_of(env: dict[str, str]) -> float:
    """The median time of a send, a whole process."""
    taken = []
    for _number in range(RUNS):
        started = time.perf_counter()
        argv = [SMTPSETUP, "send", "kund@example.org", "-s", "Backup", "--body", "done"]
        subprocess.run(argv, env=env, check=True, capture_output=True)
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def main() -> None:
    """Print a line for each transport; exit 1 where one needs more round trips than the fewest."""
    is_kept = True
    with ExitStack() as stack:
        base = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        graph = stack.enter_context(GraphServer())
        graph.allow(TOKEN, ADDRESS)
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(base / "ca.pem"))
        authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(base / "cert.pem"))
        password = base / "password"
        password.write_text("secret\n")
        password.chmod(0o600)
        sink = free_port()
        stack.enter_context(running("sink", sink, base / "cert.pem"))
        ports = {"graph": graph.ports[0].port, "smtp": sink}
        for kind, port in ports.items():
            far = free_port()
            stack.enter_context(running("delay", far, port, ROUND_TRIP / 2))
            taken = {}
            for name, place in (("near", port), ("far", far)):
                smtp = ("--host", "localhost", "--port", str(place), "--security", "tls", "--auth", "password")
                own = (*smtp, "--password-file", str(password), "--ca-file", str(base / "ca.pem"))
                api = ("--transport", "graph", "--endpoint", f"https://localhost:{place}/v1.0")
                token = (*api, "--token-command", f"echo {TOKEN}", "--ca-file", graph.ca_file)
                taken[name] = seconds_of(home(base, f"{kind}-{name}", *(token if kind == "graph" else own)))
            trips = (taken["far"] - taken["near"]) / ROUND_TRIP
            is_kept = is_kept and trips <= FEWEST[kind] + TOLERANCE
            print(
                f"{kind:6} {taken['near'] * 1000:5.0f} ms near, {taken['far'] * 1000:5.0f} ms far: "
                f"{trips:.1f} round trips, the fewest are {FEWEST[kind]}"
            )
    sys.exit(not is_kept)


if __name__ == "__main__":
    main()
