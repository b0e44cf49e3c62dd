"""Hard mails that smtpsetup composes, read by the parsers of other languages."""

from __future__ import annotations

import datetime
import email
import email.policy
import hashlib
import json
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from smtpsetup.message import attachments
from smtpsetup.message.compose import Draft, Mailbox, compose, parse_mailboxes
from tests.machine import needs
from tests.oauth_servers import node_modules

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

READERS = Path(__file__).parents[1] / "readers"
NOW = datetime.datetime(2026, 11, 26, 3, 0, tzinfo=datetime.UTC)
SUBJECTS = (
    "Faktura 4711",
    "Räkning åäö - förfaller i dag",
    "=?utf-8?q?hej?=",
    "Re: [PATCH 1/2] a: b; c, d",
    "😀 " + "mycket lång rubrik med åäö " * 8,
    "long plain words " * 12 + "end",
    "שלום",
    '"quoted" \\ back\\slash (comment) <tag>',
    "100 % = rabatt_på_allt?",
    "x",
    "ÅÄÖ" * 60,
)
NAMES = (
    "",
    "Asa",
    "Åsa Öberg",
    "Öberg, Åsa (ekonomi)",
    'Firma "Ett" AB',
    "a.b@c",
    "=?utf-8?q?hej?=",
    "back\\slash",
    "😀 " * 20 + "x",
)
FILES = (
    "a.txt",
    "Invoice (1) - copy.pdf",
    "räkning åäö.pdf",
    "back\\slash.txt",
    'quoted"name.txt',
    "a;b=c, d'e%20f.csv",
    "100 % rabatt?.bin",
    "😀.png",
    "lång " * 12 + ".txt",
    "noending",
    "x" * 150 + ".bin",
)


class Hard(NamedTuple):
    """A mail, and what every reader must find in it."""

    subject: str
    name: str
    text: str
    files: tuple[tuple[str, str], ...]


def hard_mails(directory: Path) -> list[tuple[Path, Hard]]:
    """Every subject with every name; the texts and files go round."""
    texts = ("Hej\n", "åäö €\n.\n..\nFrom me\n", "x" * 3000 + "\n", "tab\tand trailing blank \n", "😀\n")
    made = []
    for number, (subject, name) in enumerate((subject, name) for subject in SUBJECTS for name in NAMES):
        files = [FILES[number % len(FILES)], FILES[(number * 7 + 3) % len(FILES)]][: number % 3]
        contents = [bytes(range(256)) * (place + 1) + file.encode() for place, file in enumerate(files)]
        text = texts[number % len(texts)]
        draft = Draft(
            Mailbox(name, parse_mailboxes("info@example.com")[0].address),
            to=parse_mailboxes("Åsa <asa@example.com>"),
            subject=subject,
            text=text,
            html="<p>x</p>" if number % 4 == 0 else "",
            attachments=tuple(attachments.from_bytes(*pair) for pair in zip(files, contents, strict=True)),
        )
        path = directory / f"{number:02}.eml"
        message = compose(draft, now=NOW, message_id=f"<{number}@example.com>")
        path.write_bytes(b"".join(message.chunks()))
        hashes = (hashlib.sha256(content).hexdigest() for content in contents)
        made.append((path, Hard(subject, name, text, tuple(zip(files, hashes, strict=True)))))
    return made


def as_read(line: str) -> Hard:
    subject, name, address, text, files = json.loads(line)
    assert address == "info@example.com"
    return Hard(subject or "", name or "", text or "", tuple((name, content) for name, content in files))


def normalized(mail: Hard) -> Hard:
    """Without what readers may change: blanks at folds, line ends, and blanks at the end."""
    text = "\n".join(line.rstrip() for line in mail.text.replace("\r\n", "\n").split("\n")).strip("\n")
    return Hard(" ".join(mail.subject.split()), " ".join(mail.name.split()), text, mail.files)


def python_reader(paths: Sequence[Path]) -> list[str]:
    lines = []
    for path in paths:
        mail = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
        sender = mail["From"].addresses[0]
        body = mail.get_body(("plain",))
        files = [
            (part.get_filename(), hashlib.sha256(part.get_payload(decode=True)).hexdigest())  # type: ignore[arg-type]
            for part in mail.iter_attachments()
        ]
        text = body.get_content() if body else ""
        lines.append(json.dumps([str(mail["Subject"]), sender.display_name, sender.addr_spec, text, files]))
    return lines


def program(*command: str, cwd: Path | None = None) -> Callable[[Sequence[Path]], list[str]]:
    def read(paths: Sequence[Path]) -> list[str]:
        done = subprocess.run(
            [*command, *map(str, paths)], cwd=cwd, capture_output=True, text=True, timeout=100, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    return read


def reader_named(name: str, directory: Path) -> Callable[[Sequence[Path]], list[str]]:
    """The reader of that name, which prints a line for each file."""
    if name == "python":
        return python_reader
    if name == "ruby-mail":
        needs("ruby", packages="ruby-mail")
        return program("ruby", "-W0", str(READERS / "read.rb"))
    if name == "email-mime":
        needs("perl", packages="libemail-mime-perl")
        return program("perl", str(READERS / "read.pl"))
    (directory / "node_modules").symlink_to(node_modules())
    shutil.copy(READERS / "read.mjs", directory)
    return program("node", "read.mjs", name, cwd=directory)


@pytest.mark.slow
@pytest.mark.parametrize("reader", ["python", "mailparser", "postal-mime", "ruby-mail", "email-mime"])
def test_the_parsers_of_other_languages_read_hard_mails(reader: str, tmp_path: Path) -> None:
    mails = hard_mails(tmp_path)
    assert len(mails) == 99
    lines = reader_named(reader, tmp_path)([path for path, _mail in mails])
    read = [normalized(as_read(line)) for line in lines]
    assert read == [normalized(mail) for _path, mail in mails]


@pytest.mark.slow
@pytest.mark.parametrize("reader", ["ripmime", "munpack"])
def test_unpacking_programs_find_every_attached_file(reader: str, tmp_path: Path) -> None:
    needs(reader, packages="ripmime mpack")
    for path, mail in hard_mails(tmp_path):
        out = tmp_path / path.stem
        out.mkdir()
        command = (
            ["ripmime", "-i", str(path), "-d", str(out)]
            if reader == "ripmime"
            else ["munpack", "-t", "-C", str(out), str(path)]
        )
        subprocess.run(command, capture_output=True, timeout=60, check=True)
        found = {hashlib.sha256(file.read_bytes()).hexdigest() for file in out.iterdir()}
        # munpack changes line ends in what is a text by its type
        texts = (".txt", ".csv") if reader == "munpack" else ()
        assert {content for name, content in mail.files if not name.endswith(texts)} <= found
