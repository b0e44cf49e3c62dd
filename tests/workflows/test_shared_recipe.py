"""The recipe of docs/scale.md for a shared outbox, on a server that counts as another machine."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trustme

from tests.postgresql import Cluster, binaries, running
from tests.recording import RecordingServer, plain_account

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Home

ELSEWHERE = "127.0.0.2"  # smtpsetup takes it for another machine
PASSWORD = "lösen-åäö 1"
SECTION = (
    (Path(__file__).parents[2] / "docs" / "scale.md").read_text("utf-8").partition("## The shared outbox")[2]
).partition("\n## ")[0]


def commands(start: str) -> list[list[str]]:
    """The commands of the section that begin with this word, without `sudo -u postgres`."""
    found = re.findall(r"^ *\$ (?:sudo -u postgres )?(.+)$", SECTION, re.MULTILINE)
    return [shlex.split(line) for line in found if line.startswith(start)]


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def database(authority: trustme.CA) -> Iterator[Cluster]:
    """A server with TLS and passwords, with the user and the database of the recipe."""
    with running(f"listen_addresses = '127.0.0.1,{ELSEWHERE}'") as cluster:
        data = cluster.base / "data"
        certificate = authority.issue_cert(ELSEWHERE)
        for name, text in (
            ("server.crt", b"".join(blob.bytes() for blob in certificate.cert_chain_pems)),
            ("server.key", certificate.private_key_pem.bytes()),
        ):
            subprocess.run(cluster.as_owner("tee", str(data / name)), input=text, stdout=subprocess.DEVNULL, check=True)
            subprocess.run(cluster.as_owner("chmod", "600", str(data / name)), check=True)
        ((_createuser, prompts, user),) = commands("createuser")
        assert (prompts, user) == ("--pwprompt", "smtpsetup")
        cluster.execute(f"CREATE ROLE {user} LOGIN PASSWORD '{PASSWORD}'")
        ((createdb, *options),) = commands("createdb")
        programs = binaries()
        assert programs
        subprocess.run(
            cluster.as_owner(str(programs / createdb), "-h", str(cluster.base), "-p", str(cluster.port), *options),
            check=True,
            cwd="/",
        )
        with (data / "postgresql.conf").open("a") as file:
            file.write("ssl = on\n")
        (data / "pg_hba.conf").write_text(
            f"local all all trust\nhostssl all {user} all scram-sha-256\nhost all postgres 127.0.0.1/32 trust\n"
        )
        cluster.stop()
        cluster.start()
        yield cluster


@pytest.fixture
def machine(home: Home, database: Cluster, authority: trustme.CA) -> Iterator[tuple[Home, RecordingServer]]:
    """A machine that is set up as the recipe says."""
    (line,) = re.findall(r'^ *(outbox = ".+")$', SECTION, re.MULTILINE)
    ca = home.file("ca.pem", authority.cert_pem.bytes())
    url = f"{ELSEWHERE}:{database.port}/mail?sslrootcert={ca}"
    with RecordingServer() as server:
        plain_account(home, server.port)
        top = line.replace("db.mittforetag.se/mail", url)
        assert url in top
        home.config.write_text(f"{top}\n{home.config.read_text()}")
        home.file(".pgpass", f"{ELSEWHERE}:{database.port}:mail:smtpsetup:{PASSWORD}\n")
        yield home, server


def test_the_recipe_works_as_it_stands(machine: tuple[Home, RecordingServer]) -> None:
    home, server = machine
    made = home.run("outbox", "init")
    assert made.code == 0, made.err
    assert "sslrootcert" not in made.out
    assert home.run("send", "a@example.com", "--body", "x", "--queue", "always").code == 0
    assert home.run("outbox", "flush", "--json").json["result"]["sent"] == 1
    assert len(server.mails) == 1
    assert "1 sent in the last minute" in home.run("outbox", "status").out
    checks = {one["check"]: one["status"] for one in home.run("doctor", "--json").json["result"]["checks"]}
    assert checks["shared-outbox"] == "ok"


def test_a_password_of_a_store_and_a_wrong_one(machine: tuple[Home, RecordingServer]) -> None:
    home, _server = machine
    (home.path / ".pgpass").unlink()
    run = home.run("outbox", "init")
    assert (run.code, "pgpass" in run.err) == (75, True), run.err
    secret = home.file("db-password", "wrong\n")
    text = home.config.read_text()
    home.config.write_text(f'outbox_secret = {{ store = "file", path = "{secret}" }}\n{text}')
    run = home.run("outbox", "init")
    assert (run.code, "wrong" in run.err) == (75, False), run.err
    secret.write_text(f"{PASSWORD}\n")
    assert home.run("outbox", "init").code == 0


def test_a_server_that_cannot_prove_its_name_gets_no_password(machine: tuple[Home, RecordingServer]) -> None:
    home, _server = machine
    (home.path / "ca.pem").write_bytes(trustme.CA().cert_pem.bytes())
    run = home.run("outbox", "init")
    assert (run.code, "certificate" in run.err) == (75, True), run.err
    text = home.config.read_text()
    home.config.write_text(text.replace("?sslrootcert", "?sslmode=require&sslrootcert"))
    run = home.run("outbox", "init")
    assert (run.code, "verify-full" in run.err) == (78, True)
