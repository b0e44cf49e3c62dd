"""Attacks on the relay's logins: who may send at all, and what a guess costs. Each comes from an address of its own."""

from __future__ import annotations

import base64
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.faults.relays import NETS_ADDRESS, Attacker, caught, memory_of, target
from tests.recording import state_dir
from tests.relay import MAIL, add_client, plain
from tests.servers import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.faults.relays import Target

SHOP = b"MAIL FROM:<info@example.com>\r\nRCPT TO:<kund@example.org>\r\nDATA\r\n"


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory, name_server: str) -> Iterator[Target]:
    with target(tmp_path_factory.mktemp("logins"), name_server) as running:
        yield running


_addresses = iter(range(2, 250))


@pytest.fixture
def guest(relay: Target) -> Iterator[Attacker]:
    """A connection from an address without wrong logins, after EHLO."""
    with Attacker(relay.relay.port, f"127.0.1.{next(_addresses)}") as made:
        assert made.say("EHLO test").startswith("250")
        yield made


def b64(text: str | bytes) -> str:
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


# before the login


@pytest.mark.parametrize("hello", ["EHLO x", "HELO x", "NOOP"])
def test_nobody_sends_before_the_login(relay: Target, hello: str) -> None:
    with Attacker(relay.relay.port, "127.0.2.2") as client:
        client.say(hello)
        answers = [client.say(line) for line in ("MAIL FROM:<info@example.com>", "RCPT TO:<a@example.org>", "DATA")]
    first = "503" if hello == "NOOP" else "530 5.7.0"
    assert answers[0].startswith(first)
    assert [answer[:9] for answer in answers[1:]] == ["530 5.7.0"] * 2


def test_a_whole_session_in_one_packet_sends_nothing_before_the_login(relay: Target, guest: Attacker) -> None:
    guest.sock.sendall(SHOP + b"Subject: guest\r\n\r\nx\r\n.\r\nQUIT\r\n")
    assert "354" not in guest.rest()
    with relay.shop() as shop:
        shop.hand_over(b"Subject: after the guest\r\n\r\nx\r\n")
    assert caught(relay.server, "after the guest")
    assert "guest" not in relay.server.subjects


@pytest.mark.parametrize(
    "line",
    [
        f"PROXY TCP4 {NETS_ADDRESS} 127.0.0.1 1000 25",
        f"XCLIENT ADDR={NETS_ADDRESS} LOGIN=shop",
        f"XFORWARD ADDR={NETS_ADDRESS}",
        f"X-Forwarded-For: {NETS_ADDRESS}",
        f"EHLO [{NETS_ADDRESS}]",
        "EHLO localhost",
        "MAIL FROM:<info@example.com> AUTH=shop",
    ],
)
def test_no_word_of_a_client_changes_its_address_or_its_name(guest: Attacker, line: str) -> None:
    guest.say(line)
    assert guest.say("MAIL FROM:<info@example.com>").startswith("530")


def test_who_says_nothing_of_a_user_learns_nothing_of_it(guest: Attacker) -> None:
    known, unknown = guest.say("VRFY info@example.com"), guest.say("VRFY nobody@example.com")
    assert known == unknown
    assert guest.say("EXPN staff")[:1] == "5"
    assert "shop" not in guest.say("HELP")


# the words of a login

NUL_NAMES = {
    "no data": "",
    "empty": "=",
    "no base64": "!!!!",
    "half a base64": "AHNob",
    "an asterisk": "*",
    "no NUL": b64("shop"),
    "one NUL": b64("shop\0secret"),
    "three NULs": b64("\0shop\0secret\0"),
    "only NULs": b64("\0\0"),
    "bytes that are no UTF-8": b64(b"\0\xff\xfe\0\xff"),
    "two words": f"{b64(chr(0) * 2)} {b64('shop')}",
    "9 kB": b64("\0" + "x" * 9_000 + "\0y"),
    "beyond the limit": b64("\0" + "x" * 12_000 + "\0y"),
}


@pytest.mark.parametrize("initial", NUL_NAMES.values(), ids=NUL_NAMES)
def test_no_broken_plain_logs_in(relay: Target, guest: Attacker, initial: str) -> None:
    before = len(relay.said)
    answer = guest.say(f"AUTH PLAIN {initial}".rstrip())
    answer = guest.say("*") if answer.startswith("334") else answer
    assert answer[:3] in {"500", "501", "535"}
    assert guest.say("MAIL FROM:<info@example.com>").startswith("530")
    assert "internal.bug" not in relay.said[before:]


@pytest.mark.parametrize("words", [("*",), ("!!",), ("", "*"), (b64("shop"), "!!"), (b64("shop"), ""), ("", "")])
def test_no_broken_login_logs_in(guest: Attacker, words: tuple[str, ...]) -> None:
    answer = guest.say("AUTH LOGIN")
    for word in words:
        assert answer.startswith("334")
        answer = guest.say(word)
    assert answer[:3] in {"501", "535"}
    assert guest.say("MAIL FROM:<info@example.com>").startswith("530")


@pytest.mark.parametrize(
    "mechanism", ["", "CRAM-MD5", "XOAUTH2 dXNlcj0=", "EXTERNAL =", "ANONYMOUS", "PLAIN\tx", "\xff"]
)
def test_no_other_mechanism_logs_in(guest: Attacker, mechanism: str) -> None:
    assert guest.say(f"AUTH {mechanism}")[:3] in {"501", "504", "500"}
    assert guest.say("MAIL FROM:<info@example.com>").startswith("530")


NAMES = ("SHOP", "shop ", " shop", "sh\u043ep", "shop\u200b", "\uff53hop", "shop\u0301", "shop\n", "bound", "device")


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_no_name_but_its_own_goes_with_a_password(relay: Target, guest: Attacker, name: str) -> None:
    assert guest.say(f"AUTH PLAIN {plain(name, relay.password)}").startswith("535")


def test_whom_a_login_speaks_for_does_not_count(relay: Target, guest: Attacker) -> None:
    wrong = b64(f"shop\0bound\0{relay.password}")
    assert guest.say(f"AUTH PLAIN {wrong}").startswith("535")


def test_a_login_line_without_end_is_refused_and_no_bug(relay: Target, guest: Attacker) -> None:
    assert guest.say("AUTH PLAIN").startswith("334")
    answer = guest.say(b"A" * 200_000)
    assert answer[:3] in {"500", "501"}, relay.said


def test_a_second_login_is_refused(relay: Target) -> None:
    with relay.shop() as client:
        assert client.say(f"AUTH PLAIN {plain('bound', relay.bound_password)}").startswith("503")


def test_no_login_changes_the_client_inside_a_mail(relay: Target) -> None:
    with Attacker(relay.relay.port, NETS_ADDRESS) as device:
        device.say("EHLO test")
        assert device.say("MAIL FROM:<info@example.com>").startswith("250")
        assert device.say(f"AUTH PLAIN {plain('bound', relay.bound_password)}").startswith("503")


def test_no_login_before_a_greeting(relay: Target) -> None:
    with relay.relay.client() as client:
        assert client.say(f"AUTH PLAIN {plain('shop', relay.password)}").startswith("503")


# guessing


def test_wrong_logins_in_one_packet_cost_a_second_each_and_the_provider_hears_nothing(
    relay: Target, guest: Attacker
) -> None:
    heard = relay.server.connections, len(relay.server.lines)
    begin = time.monotonic()
    guest.sock.sendall(f"AUTH PLAIN {plain('shop', 'wrong')}\r\n".encode() * 2)
    assert [guest.reply()[:9] for _each in range(2)] == ["535 5.7.8"] * 2
    assert time.monotonic() - begin >= 2
    assert heard == (relay.server.connections, len(relay.server.lines))


def guesses(relay: Target, source: str, count: int) -> list[str]:
    """The replies to wrong logins at the same time."""
    answers: list[str] = []

    def guess() -> None:
        with Attacker(relay.relay.port, source) as client:
            client.say("EHLO test")
            answers.append(client.say(f"AUTH PLAIN {plain('shop', 'wrong')}")[:3])

    threads = [threading.Thread(target=guess) for _each in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def test_after_ten_wrong_logins_the_address_has_to_wait_and_others_do_not(relay: Target) -> None:
    guesses(relay, "127.0.3.2", 10)
    with Attacker(relay.relay.port, "127.0.3.2") as same:
        same.say("EHLO test")
        assert same.say(f"AUTH PLAIN {plain('bound', 'wrong')}").startswith("421 4.7.0")
        assert same.rest() == ""
    with Attacker(relay.relay.port, "127.0.3.3") as other:
        assert other.log_in(relay.password).startswith("235")


def test_guesses_at_the_same_time_are_ten_a_minute_too(relay: Target) -> None:
    assert guesses(relay, "127.0.3.4", 60).count("535") <= 10


def test_logins_at_the_same_time_do_not_eat_memory(relay: Target) -> None:
    before, most = memory_of(relay.pid), 0.0
    done = threading.Event()

    def guess() -> None:
        guesses(relay, "127.0.3.5", 60)
        done.set()

    thread = threading.Thread(target=guess)
    thread.start()
    while not done.wait(0.01):
        most = max(most, memory_of(relay.pid))
    thread.join()
    assert most - before < 48  # each check takes 16 MB


def test_logins_behind_the_last_one_fill_no_log(relay: Target) -> None:
    guesses(relay, "127.0.3.6", 10)
    with Attacker(relay.relay.port, "127.0.3.6") as client:
        client.say("EHLO test")
        client.sock.sendall(f"AUTH PLAIN {plain('flood', 'wrong')}\r\n".encode() * 1_000)
        client.rest()
    with relay.shop() as shop:
        assert shop.say("NOOP").startswith("250")
    assert relay.said.count("flood") <= 1


def work_of(pid: int) -> int:
    """The time that a process has computed for, in ticks of 10 ms (proc_pid_stat(5)): others do not disturb it."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def test_an_unknown_name_costs_the_relay_as_much_as_a_wrong_password(relay: Target) -> None:
    ticks = {"shop": 0, "nobody": 0, "device": 0}
    for number in range(3):
        with Attacker(relay.relay.port, f"127.0.4.{number + 2}") as client:
            client.say("EHLO test")
            for name in ticks:
                before = work_of(relay.pid)
                assert client.say(f"AUTH PLAIN {plain(name, 'wrong')}").startswith("535")
                ticks[name] += work_of(relay.pid) - before
    assert min(ticks.values()) >= 3 * 2, ticks  # a check takes some 40 ms
    assert max(ticks.values()) <= 2 * min(ticks.values()), ticks


# secrets and the log


def test_a_password_is_in_no_file_no_output_and_no_process_list(relay: Target) -> None:
    with relay.shop() as client:
        assert client.hand_over(MAIL).startswith("250")
    with Attacker(relay.relay.port, "127.0.5.2") as client:
        client.say("EHLO test")
        client.say(f"AUTH PLAIN {plain('nobody', relay.password)}")
        client.say(f"AUTH PLAIN {b64(relay.password)}")
    secrets = [text.encode() for text in (relay.password, b64(relay.password), plain("shop", relay.password))]
    files = [path for path in relay.relay.home.path.rglob("*") if path.is_file()]
    process = [Path(f"/proc/{relay.pid}/{name}") for name in ("cmdline", "environ")]
    assert relay.relay.home.path / "relay.err" in files
    for path in (*files, *process):
        assert not [secret for secret in secrets if secret in path.read_bytes()], path
    assert '"scrypt$16384$8$1$' in Path(state_dir(relay.relay.home), "relay-clients.json").read_text()


def test_all_files_of_the_relay_are_the_users_alone(relay: Target) -> None:
    with relay.shop() as client:
        assert client.hand_over(MAIL).startswith("250")
    files = [path for path in Path(state_dir(relay.relay.home)).rglob("*") if path.is_file()]
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    assert {"relay-key.pem", "relay-clients.json", "relay.json", "outbox.db"} <= {path.name for path in files}


@pytest.mark.parametrize("name", ["\x1b[31mred", "a\nFAKE 235", "\u202egpj", "a\x00b", "\r\x9b2J", "\ud800"], ids=ascii)
def test_a_name_that_is_no_client_does_not_reach_the_log(relay: Target, guest: Attacker, name: str) -> None:
    before = len(relay.said)
    login = [guest.say("AUTH LOGIN"), guest.say(b64(name.encode("utf-8", "surrogatepass"))), guest.say(b64("x"))]
    assert login[2].startswith("535")
    wait_for(lambda: "with a user name that is no client" in relay.said[before:])
    said = relay.said[before:]
    assert all(line.isprintable() for line in said.splitlines())
    assert not any(line.startswith("FAKE") for line in said.splitlines())
    assert "internal.bug" not in said


# clients that end


@pytest.mark.parametrize("change", ["renew", "remove"])
def test_a_client_that_ended_sends_no_further_mail(relay: Target, change: str) -> None:
    home = relay.relay.home
    password = add_client(home, f"ends-{change}")
    path = Path(state_dir(home), "relay-clients.json")
    wait_for(lambda: time.time() - path.stat().st_mtime > 0.3)  # the relay has seen it
    with relay.relay.client() as client, relay.relay.client() as inside:
        assert client.log_in(password, f"ends-{change}").startswith("235")
        assert inside.log_in(password, f"ends-{change}").startswith("235")
        assert inside.say("MAIL FROM:<info@example.com>").startswith("250")
        assert client.hand_over().startswith("250")
        assert home.run("relay", change, f"ends-{change}", "--no-input").code == 0
        wait_for(lambda: client.hand_over().startswith("530"), 5)
        assert inside.say("RCPT TO:<kund@example.org>").startswith("530")
    with Attacker(relay.relay.port, "127.0.6.2") as again:
        assert again.log_in(password, f"ends-{change}").startswith("535")
