"""What a server replies to a sending command: the exit code it leads to; secrets and escapes in it are not shown."""

from __future__ import annotations

import base64
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from smtpsetup.net.masks import Masks
from tests.faults.scripts import READY, TO_DATA, TO_DOT, TO_LOGIN, TO_RCPT
from tests.mail_server import MailServer, Turn
from tests.recording import password_account, plain_account
from tests.servers import ScriptedServer, wait_for

if TYPE_CHECKING:
    from smtpsetup.sandbox.server import SandboxFacts
    from tests.conftest import Home


@pytest.mark.parametrize(
    "ehlo", [b"250-x\r\n250 AUTH \x1b]0;x\x07\x1b[31mX \x9b31m\r\n", b"250-x\r\n250-SIZE \xb2\r\n250 AUTH X\x1b\r\n"]
)
def test_escape_sequences_in_an_ehlo_reply_are_not_printed(home: Home, ehlo: bytes) -> None:
    with ScriptedServer((READY, None, ehlo, None)) as server:
        password_account(home, server.port)
        done = home.run("test", "--json")
    assert done.code == 69
    assert (done.out + done.err).replace("\n", "").isprintable()


HUNTER = "hunter2-sécret"


@pytest.mark.parametrize(
    "form",
    [
        HUNTER,
        HUNTER.upper(),
        "#" * 190 + HUNTER,
        base64.b64encode(f"user:{HUNTER}".encode()).decode(),
        base64.b64encode(f"\0u\0{HUNTER}".encode()).decode().rstrip("="),
        base64.b64encode(HUNTER.encode()).decode(),
        HUNTER.encode().hex(),
        "".join(f"%{byte:02X}" for byte in HUNTER.encode()),
        HUNTER.encode("cp1252").decode("utf-8", "replace"),
        repr(HUNTER),
    ],
)
def test_a_secret_repeated_by_a_server_is_masked_in_any_encoding(form: str) -> None:
    masks = Masks()
    masks.add(HUNTER)
    shown = masks.applied(f"bad password {form} for you")
    assert shown.startswith("bad password ")
    assert shown.endswith(" for you")
    for piece in ("hunter2", "HUNTER2", "cret", "aHVudGVy", "68756e74"):
        assert piece not in shown


def test_a_refusal_in_the_middle_of_a_large_message_is_reported(home: Home) -> None:
    with ScriptedServer((*TO_DATA, b"354 go\r\n", b"552 5.3.4 Message too big for you\r\n", 0.5, "drop")) as server:
        password_account(home, server.port)
        home.file("big.bin", os.urandom(700_000))
        done = home.run("send", "a@example.com", "--body", "x", "--attach", "big.bin", "--json")
    # the second where the reset overtook the reply
    assert done.json["error"]["code"] in {
        "data.too-large",
        "connection.lost",
    }


@pytest.mark.parametrize(
    ("replies", "code"),
    [
        ([b"550 5.1.1 User unknown"], 67),
        ([b"552 5.2.2 Mailbox full"], 67),
        ([b"554 5.7.1 Relay access denied"], 69),
        ([b"554 5.7.1 Access denied"], 69),
        ([b"550 Requested action not taken: mailbox unavailable"], 69),
        ([b"550 5.1.1 User unknown", b"550 5.1.1 User unknown"], 67),
        ([b"550 5.1.1 User unknown", b"550 Administrative prohibition"], 69),
        ([b"550 Administrative prohibition", b"550 5.1.1 User unknown"], 69),
    ],
)
def test_exit_code_67_is_only_for_recipients_that_do_not_exist_or_cannot_be_written_to(
    home: Home, replies: list[bytes], code: int
) -> None:
    script = [part for reply in replies for part in (reply + b"\r\n", None)]
    with ScriptedServer((*TO_RCPT, *script, b"221 bye\r\n")) as server:
        password_account(home, server.port)
        recipients = [f"{number}@example.com" for number in range(len(replies))]
        assert home.run("send", *recipients, "--body", "x", "--json").code == code


def test_what_waiting_cannot_help_is_not_kept_for_days_whatever_its_number(home: Home) -> None:
    reply = b"451 4.7.1 Sender address rejected: not owned by user info@example.com\r\n"
    with ScriptedServer((*TO_RCPT, reply, None, b"221 bye\r\n")) as server:
        password_account(home, server.port)
        done = home.run("send", "a@example.com", "--body", "x", "--json")
    assert (done.code, done.json["error"]["code"]) == (77, "mail.sender-not-allowed")
    assert done.json["error"]["retry"] is False
    assert home.run("outbox", "list", "--json").json["result"] == []


def test_a_refusal_that_asks_for_another_try_is_kept_whatever_its_number(home: Home) -> None:
    reply = b"554 Your message was received but it could not be saved. Please retry later.\r\n"
    with ScriptedServer((*TO_DOT, reply, None, b"221 bye\r\n")) as server:
        password_account(home, server.port)
        done = home.run("send", "a@example.com", "--body", "x", "--json")
    assert (done.code, done.json["result"]["queued"]) == (0, True)


def test_a_mail_that_may_have_been_delivered_is_not_to_be_retried(home: Home) -> None:
    with ScriptedServer((*TO_DOT, "drop")) as server:
        password_account(home, server.port)
        error = home.run("send", "a@example.com", "--body", "x", "--queue", "never", "--json").json["error"]
    assert (error["code"], error["retry"]) == ("data.lost-before-reply", False)


def test_ctrl_c_after_the_whole_message_says_that_it_may_have_been_delivered(home: Home) -> None:
    with ScriptedServer((*TO_DOT, 60.0)) as server:
        password_account(home, server.port)
        process = subprocess.Popen(
            [sys.executable, "-m", "smtpsetup", "send", "a@example.com", "--body", "x"],
            env=home.env,
            cwd=home.path,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        wait_for(lambda: any(b"x" in line for line in server.received[7:]))
        time.sleep(0.3)  # the reply to the dot is awaited now, and nothing shows that from outside
        process.send_signal(signal.SIGINT)
        _out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "may have been delivered" in err


def test_a_refresh_token_is_not_sent_as_a_password(home: Home, facts: SandboxFacts) -> None:
    with ScriptedServer((*TO_LOGIN, b"235 ok\r\n")) as server:
        password_account(home, server.port, auth='"oauth2"')
        done = home.run("send", "a@example.com", "--body", "x", "--json")
        assert server.received == []
    assert (done.code, done.json["error"]["code"]) == (77, "auth.oauth2-required")


def test_a_broken_user_table_does_not_hide_the_result_of_a_mail(home: Home) -> None:
    script = (
        *TO_RCPT,
        b"250 ok\r\n",
        None,
        b"550 5.1.1 unknown\r\n",
        None,
        b"354 go\r\n",
        "message",
        b"250 ok\r\n",
        None,
        b"221 bye\r\n",
    )
    with ScriptedServer(script) as server:
        password_account(home, server.port)
        home.file(".config/smtpsetup/providers.toml", "[[provider]]\nid = 3\n")
        done = home.run("send", "a@example.com", "b@example.com", "--body", "x", "--json")
    assert done.code == 67
    assert done.json["result"]["accepted"] == ["a@example.com"]


def test_a_saved_password_is_not_sent_to_another_server(home: Home, facts: SandboxFacts) -> None:
    home.configure(facts)
    with ScriptedServer(TO_LOGIN) as other:
        done = home.run(
            "configure",
            "info@example.com",
            "--host",
            "127.0.0.1",
            "--port",
            str(other.port),
            "--security",
            "none",
            "--json",
        )
        assert other.connections == 0
    assert done.json["error"]["code"] == "secret.missing"


@pytest.mark.parametrize("is_offered", [True, False])
def test_auth_login_is_tried_once_after_504_to_auth_plain(home: Home, is_offered: bool) -> None:  # noqa: FBT001  a parameter
    offers = ("AUTH LOGIN PLAIN",) if is_offered else ()

    def answer(turn: Turn) -> bytes | None:
        if turn.line.startswith("AUTH PLAIN"):
            return b"504 5.5.4 Unrecognized authentication type\r\n"
        if turn.line == "AUTH LOGIN":
            return b"334 VXNlcm5hbWU6\r\n"
        return {"aW5mb0BleGFtcGxlLmNvbQ==": b"334 UGFzc3dvcmQ6\r\n", "aGVtbGlndA==": b"235 2.7.0 in\r\n"}.get(turn.line)

    password = home.file("password", "hemligt\n")
    with MailServer(answer, offers=offers) as server:
        secret = f'{{ store = "file", path = "{password}" }}'
        plain_account(home, server.port, auth='"password"', username='"info@example.com"', secret=secret)
        run = home.run("send", "kund@example.com", "--body", "x", "--queue", "never")
    assert (run.code == 0) == is_offered
    assert [line.split(" ")[1] for line in server.lines if line.startswith("AUTH")] == (
        ["PLAIN", "LOGIN"] if is_offered else ["PLAIN"]
    )
