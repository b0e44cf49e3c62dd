"""The audit of a release, with pip-audit itself and a server of the OSV API on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-release" / "bin" / "python"
pytestmark = pytest.mark.skipif(not PYTHON.exists(), reason="the tools of a release; `make .venv-release/ready`")


class _Osv(BaseHTTPRequestHandler):
    vulnerable: ClassVar[str] = ""

    def do_POST(self) -> None:
        query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name = query["package"]["name"]
        events = [{"introduced": "0"}, {"fixed": "999.1"}]
        affected = {"package": query["package"], "ranges": [{"type": "ECOSYSTEM", "events": events}]}
        known = {"vulns": [{"id": "PYSEC-2026-1", "summary": "made up", "affected": [affected]}]}
        body = json.dumps(known if name == self.vulnerable else {}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        pass


@contextmanager
def _osv(vulnerable: str) -> Iterator[str]:
    handler = type("Handler", (_Osv,), {"vulnerable": vulnerable})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1/query"
        server.shutdown()


def _audit(url: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PYTHON, ROOT / "tools" / "audit.py", *options],
        env={**os.environ, "OSV_URL": url, "NO_PROXY": "127.0.0.1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_an_audit_that_finds_nothing_says_how_many_packages_it_covered() -> None:
    with _osv("") as url:
        done = _audit(url, "--strict")
    assert (done.returncode, done.stderr) == (0, "")
    text = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    locked = sum("==" in line.split(" ")[0] for line in text.splitlines())
    assert f"requirements.txt: {locked} of {locked} packages audited, 0 known advisories" in done.stdout
    assert "NOT AUDITED" not in done.stdout


@pytest.mark.parametrize("vulnerable", ["pywin32-ctypes", "secretstorage"])
def test_an_advisory_fails_the_audit_also_for_a_package_of_another_platform(vulnerable: str) -> None:
    with _osv(vulnerable) as url:
        done = _audit(url)
    assert done.returncode == 1
    assert "PYSEC-2026-1, fixed in 999.1" in done.stdout
    assert vulnerable in done.stdout


@pytest.mark.parametrize(("options", "code"), [((), 0), (("--strict",), 1)])
def test_without_an_advisory_service_the_audit_says_that_nothing_was_audited(
    options: tuple[str, ...], code: int
) -> None:
    done = _audit("http://127.0.0.1:9/v1/query", *options)
    assert done.returncode == code
    assert "0 of " in done.stdout
    assert "NOT AUDITED: " in done.stdout
    assert "No advisory service answered" in done.stdout
