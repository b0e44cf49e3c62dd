"""send --batch: errors name their line before anything is sent, and every mail has a result line."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.mail_server import MailServer, Turn
from tests.recording import password_account

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Home, Run

LINE_KEYS = {"account", "message_id", "accepted", "refused", "queued", "outbox_id", "reply", "line", "ok", "error"}
TOTAL_KEYS = {"total", "sent", "queued", "failed", "unknown", "sent_before", "not_tried", "seconds"}
REFUSALS = {
    "RCPT TO:<gone@example.com>": b"550 5.1.1 unknown\r\n",
    "RCPT TO:<later@example.com>": b"451 4.3.0 later\r\n",
}


@pytest.fixture
def server(home: Home) -> Iterator[MailServer]:
    """A server that the home's account sends through."""
    with MailServer(lambda turn: REFUSALS.get(turn.line)) as running:
        password_account(home, running.port)
        yield running


def batch(home: Home, *rows: dict[str, Any] | str, options: tuple[str, ...] = ("--json",)) -> Run:
    home.file("mails.jsonl", "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return home.run("send", "--batch", "mails.jsonl", *options)


def mail(name: str, **more: Any) -> dict[str, Any]:
    return {"to": f"{name}@example.com", "subject": name, "body": "hej", **more}


def views(done: Run) -> list[dict[str, Any]]:
    return done.lines


# errors


INVALID_LINES = [
    ("{", "JSON; the fault is at column 2"),
    ('{"to": }', "JSON; the fault is at column 8"),
    ("[]", "object"),
    ('"text"', "object"),
    ("[" * 10_000, "JSON"),
    ('{"to": "a@example.com", "tos": 1}', "tos"),
    ('{"to": "a@example.com", "Subject": "x"}', "Subject"),
    ('{"to": 5}', "to"),
    ('{"to": ["a@example.com", 5]}', "to"),
    ('{"to": {"a": "b"}}', "to"),
    ('{"to": null}', "to"),
    ('{"to": "a@example.com", "subject": ["x"]}', "subject"),
    ('{"to": "a@example.com", "body": 5}', "body"),
    ('{"to": "a@example.com", "headers": "X: y"}', "headers"),
    ('{"to": "a@example.com", "headers": {"X": 5}}', "headers"),
    ('{"to": "a@example.com", "id": true}', "id"),
    ('{"to": "a@example.com", "id": 1.5}', "id"),
    ('{"to": "a@example.com", "id": null}', "id"),
    ('{"subject": "to nobody"}', "recipient"),
    ('{"to": []}', "recipient"),
    ('{"to": ""}', ""),
    ('{"to": "no address"}', ""),
    ('{"to": "a@example.com", "from": "a@x.se, b@x.se"}', ""),
    ('{"to": "a@example.com", "headers": {"Bcc": "evil@example.com"}}', "Bcc"),
    ('{"to": "a@example.com", "headers": {"X": "a\\r\\nBcc: evil@example.com"}}', "line break"),
    ('{"to": "a@example.com", "headers": {"X\\nY": "a"}}', "line break"),
    ('{"to": "a@example.com", "subject": "a\\nBcc: evil@example.com"}', "line break"),
    ('{"to": "a@example.com\\nBcc: evil@example.com"}', "line break"),
    ('{"to": "a@example.com", "subject": "\\ud800"}', ""),
    ('{"to": "a@example.com", "body": "\\ud800"}', ""),
    ('{"to": "a@example.com", "html": "<p>\\ud800</p>"}', ""),
    ('{"to": "a@example.com", "attach": "\\ud800"}', ""),
    ('{"to": "a@example.com", "attach": "a\\u0000b"}', ""),
    ('{"to": "a@example.com", "html_file": "a\\u0000b"}', ""),
    ('{"to": "a@example.com", "to": "b@example.com"}', "to"),
]


@pytest.mark.sampled
@pytest.mark.parametrize(("line", "reason"), INVALID_LINES, ids=[line[:50] for line, _reason in INVALID_LINES])
def test_an_invalid_line_is_reported_by_number_and_nothing_is_sent(
    home: Home, server: MailServer, line: str, reason: str
) -> None:
    done = batch(home, mail("a"), "", line, mail("b"))
    error = views(done)[-1]["error"]
    assert (done.code, error["code"]) == (65, "config.invalid")
    assert "3" in error["message"]
    assert reason in error["message"]
    assert server.connections == 0


@pytest.mark.parametrize("path", ["missing.pdf", ".", "", "mails.jsonl/x"])
@pytest.mark.parametrize("key", ["attach", "html_file"])
def test_a_missing_file_is_exit_66_with_its_line(home: Home, server: MailServer, key: str, path: str) -> None:
    if key == "html_file" and not path:
        return  # no HTML
    done = batch(home, mail("a"), mail("b", **{key: path}))
    assert done.code == 66
    assert "Line 2" in done.err
    assert server.connections == 0


def test_a_line_that_is_not_utf8_is_reported_by_number(home: Home, server: MailServer) -> None:
    home.file("mails.jsonl", json.dumps(mail("a")).encode() + b'\n{"to": "b@example.com", "subject": "caf\xe9"}\n')
    done = home.run("send", "--batch", "mails.jsonl", "--json")
    assert (done.code, server.connections) == (65, 0)
    assert "Line 2" in views(done)[0]["error"]["message"]


def test_invalid_lines_are_reported_together(home: Home, server: MailServer) -> None:
    done = batch(home, *(mail("a", to="no address") for _number in range(30)))
    error = views(done)[-1]["error"]
    assert all(
        any(f"Line {number}:" in cause and "no address" in cause for cause in error["causes"])
        for number in range(1, 11)
    )
    assert len(error["causes"]) < 15


def test_an_id_may_be_used_by_one_line_only(home: Home, server: MailServer) -> None:
    done = batch(home, mail("a", id="x"), mail("b", id="y"), mail("c", id="x"))
    assert done.code == 65
    assert "Line 3" in done.err
    assert server.connections == 0


def test_a_missing_batch_is_exit_66(home: Home, server: MailServer) -> None:
    assert home.run("send", "--batch", "missing.jsonl", "--json").code == 66
    assert home.run("send", "--batch", ".", "--json").code == 66


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf"])
def test_a_batch_without_mails_sends_none(home: Home, server: MailServer, content: bytes) -> None:
    home.file("mails.jsonl", content)
    done = home.run("send", "--batch", "mails.jsonl", "--json")
    assert server.connections == 0
    assert done.code in (0, 65)
    assert done.code == 65 or views(done)[-1]["result"]["total"] == 0


@pytest.mark.parametrize(
    "options",
    [
        ("a@example.com",),
        ("--to", "a@example.com"),
        ("--subject", "x"),
        ("--body", "x"),
        ("--attach", "x"),
        ("-H", "X: y"),
        ("--merge", "x.csv"),
        ("--rate", "0/s"),
        ("--rate", "5"),
        ("--rate", "1/h"),
        ("--connections", "0"),
        ("--connections", "51"),
    ],
    ids=" ".join,
)
def test_options_for_one_mail_are_refused_with_batch(home: Home, server: MailServer, options: tuple[str, ...]) -> None:
    assert batch(home, mail("a"), options=(*options, "--json")).code == 2
    assert server.connections == 0


@pytest.mark.parametrize("options", [("--restart",), ("--rate", "1/s"), ("--connections", "2")], ids=" ".join)
def test_options_for_many_mails_are_refused_for_one(home: Home, server: MailServer, options: tuple[str, ...]) -> None:
    assert home.run("send", "a@example.com", "--body", "x", *options).code == 2
    assert server.connections == 0


# results


def test_each_mail_has_a_result_line_and_the_totals_are_last(home: Home, server: MailServer) -> None:
    done = batch(home, mail("a"), mail("b", id="nr 2"), mail("c", id=3))
    lines = views(done)
    assert done.code == 0
    assert [set(line) for line in lines[:-1]] == [LINE_KEYS, LINE_KEYS | {"id"}, LINE_KEYS | {"id"}]
    assert [(line["line"], line.get("id"), line["ok"], line["error"]) for line in lines[:-1]] == [
        (1, None, True, None),
        (2, "nr 2", True, None),
        (3, 3, True, None),
    ]
    assert set(lines[-1]) == {"schema", "command", "ok", "result"}
    assert set(lines[-1]["result"]) == TOTAL_KEYS
    assert [lines[-1]["result"][key] for key in ("total", "sent", "failed", "not_tried")] == [3, 3, 0, 0]
    assert [line["message_id"] for line in lines[:-1]] == [caught.message_id for caught in server.mails]


def test_every_key_has_the_meaning_of_its_option(home: Home, server: MailServer) -> None:
    home.file("a.txt", "bilaga")
    row = {
        "to": ["Åsa <a@example.com>", "b@example.com"],
        "cc": "c@example.com",
        "bcc": ["hemlig@example.com"],
        "reply_to": "svar@example.com",
        "from": "Annan <annan@example.com>",
        "subject": "Hej",
        "body": "text",
        "html": "<p>html</p>",
        "attach": ["a.txt"],
        "headers": {"X-Order": "4711"},
    }
    assert batch(home, row).code == 0
    (caught,) = server.mails
    assert (caught.sender, caught.recipients) == (
        "annan@example.com",
        tuple(f"{name}@example.com" for name in ("a", "b", "c", "hemlig")),
    )
    for text in (
        b"X-Order: 4711\r\n",
        b"Reply-To: svar@example.com\r\n",
        b"<p>html</p>",
        b'filename="a.txt"',
        b"Cc: c@example.com\r\n",
    ):
        assert text in caught.content
    assert b"hemlig" not in caught.content


def test_success_is_silent_without_a_terminal(home: Home, server: MailServer) -> None:
    done = batch(home, mail("a"), options=())
    assert (done.code, done.out, done.err) == (0, "", "")


def test_a_byte_order_mark_and_crlf_are_accepted(home: Home, server: MailServer) -> None:
    home.file("mails.jsonl", b"\xef\xbb\xbf" + b"\r\n".join(json.dumps(mail(name)).encode() for name in "ab"))
    assert home.run("send", "--batch", "mails.jsonl").code == 0
    assert server.subjects == ["a", "b"]


def test_a_batch_may_come_on_standard_input(home: Home, server: MailServer) -> None:
    assert home.run("send", "--batch", "-", "--json", stdin=json.dumps(mail("a")) + "\n").code == 0
    assert server.subjects == ["a"]


@pytest.mark.parametrize(
    ("names", "code"),
    [(("a", "gone"), 67), (("gone", "a"), 67), (("later", "a"), 75), (("later", "gone"), 67), (("a",), 0)],
    ids=lambda value: "+".join(value) if isinstance(value, tuple) else str(value),
)
def test_the_exit_code_is_that_of_the_worst_refusal(
    home: Home, server: MailServer, names: tuple[str, ...], code: int
) -> None:
    done = batch(home, *(mail(name) for name in names), options=("--json", "--queue", "never"))
    assert done.code == code
    assert views(done)[-1]["ok"] is (code == 0)
    assert set(views(done)[-1]["result"]) == TOTAL_KEYS


def test_a_partly_delivered_mail_lists_the_refused_recipients(home: Home, server: MailServer) -> None:
    done = batch(home, mail("a", to=["a@example.com", "gone@example.com"]), mail("b"))
    first = views(done)[0]
    assert done.code == 67
    assert (first["ok"], first["accepted"]) == (False, ["a@example.com"])
    assert [(entry["address"], entry["code"]) for entry in first["refused"]] == [("gone@example.com", "rcpt.unknown")]


def test_control_characters_in_a_line_are_escaped_for_the_terminal(home: Home, server: MailServer) -> None:
    done = batch(home, mail("a", id="\x1b[31m\u202e\x07"), mail("b", **{"\x1b]0;x\x07": 1}), options=())
    assert done.err.replace("\n", "").isprintable()


# runs again


def test_a_batch_run_again_sends_only_what_was_not_sent(home: Home, server: MailServer) -> None:
    rows = (mail("a"), mail("gone"), mail("b"))
    assert batch(home, *rows).code == 67
    again = batch(home, *rows)
    assert again.code == 67
    assert [views(again)[-1]["result"][key] for key in ("sent", "sent_before", "failed")] == [0, 2, 1]
    assert sorted(server.subjects) == ["a", "b"]


def test_a_corrected_line_is_sent_and_the_others_are_not_sent_again(home: Home, server: MailServer) -> None:
    batch(home, mail("a"), mail("gone"), mail("b"))
    done = batch(home, mail("a"), mail("found"), mail("b"), mail("new"))
    assert done.code == 0
    assert sorted(server.subjects) == ["a", "b", "found", "new"]
    assert "--restart" in done.err


def test_a_line_with_other_content_is_another_mail_whatever_its_id(home: Home, server: MailServer) -> None:
    batch(home, mail("a", id=1), mail("gone", id=2))
    done = batch(home, mail("b", id=1), mail("c", id=2))
    assert done.code == 0
    assert server.subjects == ["a", "b", "c"]


def test_equal_lines_are_two_mails(home: Home, server: MailServer) -> None:
    assert batch(home, mail("a"), mail("a"), mail("gone"), mail("a")).code == 67
    assert batch(home, mail("a"), mail("a"), mail("a"), mail("a")).code == 0
    assert server.subjects == ["a"] * 4


def test_a_finished_batch_is_sent_again_with_restart_or_after_half_a_day(home: Home, server: MailServer) -> None:
    first, second = batch(home, mail("a")), batch(home, mail("a"))
    assert server.subjects == ["a"]
    assert "--restart" in second.err
    third = batch(home, mail("a"), options=("--json", "--restart"))
    assert server.subjects == ["a", "a"]
    assert views(first)[0]["message_id"] != views(third)[0]["message_id"]
    (journal,) = (home.path / ".local/state/smtpsetup/batches").iterdir()
    journal.write_text(re.sub(r'"ended": "\d+"', f'"ended": "{int(time.time()) - 13 * 3600}"', journal.read_text()))
    assert batch(home, mail("a")).code == 0
    assert server.subjects == ["a", "a", "a"]


def test_as_long_as_a_mail_could_not_be_sent_the_others_are_not_sent_again(home: Home, server: MailServer) -> None:
    """However much later: a person corrects the address the next morning."""
    batch(home, mail("a"), mail("gone"))
    (journal,) = (home.path / ".local/state/smtpsetup/batches").iterdir()
    assert not re.search(r'"ended": "\d', journal.read_text())
    batch(home, mail("a"), mail("found"))
    assert re.search(r'"ended": "\d', journal.read_text())
    assert server.subjects == ["a", "found"]


def test_restart_sends_everything_again_as_new_mails(home: Home, server: MailServer) -> None:
    first = batch(home, mail("a"), mail("gone"))
    second = batch(home, mail("a"), mail("gone"), options=("--json", "--restart"))
    assert server.subjects == ["a", "a"]
    assert views(first)[0]["message_id"] != views(second)[0]["message_id"]


def test_a_truncated_journal_is_read_up_to_the_damage(home: Home, server: MailServer) -> None:
    batch(home, mail("a"), mail("gone"))
    (journal,) = (home.path / ".local/state/smtpsetup/batches").iterdir()
    journal.write_bytes(journal.read_bytes() + b'{"key": "x\n\0\0\0\n{"key": ')
    assert batch(home, mail("a"), mail("b")).code == 0
    assert server.subjects == ["a", "b"]


def test_a_dry_run_shows_the_first_mails_and_writes_no_journal(home: Home, server: MailServer) -> None:
    done = batch(home, *(mail(f"m{number}") for number in range(5)), options=("--dry-run",))
    assert done.code == 0
    assert "Subject: m0" in done.out
    assert "Subject: m4" not in done.out
    assert "5" in done.err
    as_json = batch(home, mail("a"), options=("--dry-run", "--json"))
    assert views(as_json)[0]["recipients"] == ["a@example.com"]
    assert views(as_json)[-1]["result"] == {"total": 1}
    assert server.connections == 0
    assert not (home.path / ".local/state/smtpsetup/batches").exists()


def test_connections_send_each_mail_once(home: Home, server: MailServer) -> None:
    done = batch(home, *(mail(f"m{number}") for number in range(30)), options=("--json", "--connections", "4"))
    assert done.code == 0
    assert sorted(server.subjects) == sorted(f"m{number}" for number in range(30))
    assert {view["line"] for view in views(done)[:-1]} == set(range(1, 31))


def test_a_rate_is_kept(home: Home, server: MailServer) -> None:
    done = batch(home, *(mail(f"m{number}") for number in range(5)), options=("--json", "--rate", "10/s"))
    assert done.code == 0
    assert views(done)[-1]["result"]["seconds"] > 0.35


def test_a_wrong_password_is_exit_77_and_no_mail_is_tried(home: Home) -> None:
    def answer(turn: Turn) -> bytes | None:
        return b"535 5.7.8 bad\r\n" if turn.verb == "AUTH" else None

    with MailServer(answer) as server:
        password_account(home, server.port)
        done = batch(home, mail("a"), mail("b"))
    assert done.code == 77
    assert views(done)[-1]["result"]["not_tried"] == 2
