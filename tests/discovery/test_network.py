"""Failing, silent or slow servers and proxies: a better answer is not delayed, and an error names the cause."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.discovery.conftest import running, whole_plan
from tests.discovery.domains import ELSEWHERE
from tests.discovery.plan import EMPTY, SILENT, WEB, Server, autoconfig, page

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Home
    from tests.discovery.conftest import World


FAULTY_NAME_SERVER = {"SMTPSETUP_NAMESERVER": "127.0.0.2"}


def with_resolv_conf(home: Home, lines: str) -> Home:
    """A home whose commands find these lines in /etc/resolv.conf."""
    file = home.file("resolv.conf", lines.encode("latin-1"), 0o644)
    bind = ("unshare", "--mount", "sh", "-c", f'mount --bind {file} /etc/resolv.conf && exec "$@"', "sh")
    return replace(home, prefix=(*home.prefix, *bind))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("domain", "word"),
    [
        ("dns-vagrar.se", "refused"),
        ("dns-trasig.se", "failure"),
        ("dns-tyst.se", "in time"),
        ("servfail.se", "failure"),
    ],
)
def test_a_failing_name_server_is_a_temporary_failure_with_its_reason(domain: str, word: str, inside: Home) -> None:
    run = inside.run("identify", f"info@{domain}", "--json", **FAULTY_NAME_SERVER)
    assert run.code == 75
    error = run.json["error"]
    assert error["code"] == "dns.temporary"
    assert error["retry"] is True
    assert word in error["causes"][0]


@pytest.mark.slow
@pytest.mark.parametrize("domain", ["tecken-tyst.se", "srv-tyst.se"])
def test_a_name_server_that_drops_some_queries_is_a_temporary_failure(domain: str, inside: Home) -> None:
    run = inside.run("identify", f"info@{domain}", "--json", **FAULTY_NAME_SERVER)
    assert (run.code, run.json["error"]["code"]) == (75, "dns.temporary")


def test_a_failing_name_server_leads_to_a_hint_to_use_another(inside: Home) -> None:
    assert "SMTPSETUP_NAMESERVER=" in inside.run("identify", "info@servfail.se", "-v").err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("value", "code"),
    [("127.0.0.2", 0), ("127.0.0.2:53", 0), ("127.0.0.9:5353", 75), ("127.0.0.2:port", 78), (":53", 78), ("[::1", 75)],
)
def test_another_name_server_can_be_configured(value: str, code: int, inside: Home) -> None:
    run = inside.run("identify", "info@mittforetag.se", "--json", "--timeout", "3", SMTPSETUP_NAMESERVER=value)
    assert run.code == code, run.out


def test_a_name_server_given_by_name_does_not_extend_the_timeout(inside: Home) -> None:
    started = time.monotonic()
    run = inside.run(
        "identify", "info@mittforetag.se", "--timeout", "1", "--json", SMTPSETUP_NAMESERVER="\x1b[31mns.nowhere.se"
    )
    assert time.monotonic() - started < 4
    assert run.code in (75, 78)
    assert "\x1b" not in run.out + run.err


@pytest.mark.sampled
@pytest.mark.parametrize(
    "lines",
    [
        "nameserver foo\nnameserver 127.0.0.1\n",
        "nameserver 127.0.0.1#53\nnameserver 127.0.0.1\n",
        "# \xe5\nnameserver 127.0.0.1\n",
    ],
)
def test_an_invalid_line_of_resolv_conf_is_ignored(lines: str, inside: Home) -> None:
    assert with_resolv_conf(inside, lines).run("identify", "info@mittforetag.se").code == 0


def test_the_search_list_of_resolv_conf_is_not_applied(inside: Home) -> None:
    lines = "search verkstan.se\nnameserver 127.0.0.1\n"
    assert with_resolv_conf(inside, lines).run("identify", "info@finns-inte.se").code == 68


# deadlines


def test_a_search_slowed_by_a_dripping_server_ends_at_its_timeout(inside: Home) -> None:
    started = time.monotonic()
    run = inside.run("identify", "info@droppande.se", "--timeout", "0.6", "--json")
    assert time.monotonic() - started < 3
    assert run.code == 75
    assert "--timeout" in " ".join(run.json["error"]["hints"])


@pytest.mark.slow
@pytest.mark.parametrize("domain", ["droppande.se", "tyst.se"])
def test_each_source_has_a_deadline_of_its_own(domain: str, inside: Home) -> None:
    started = time.monotonic()
    run = inside.run("identify", f"info@{domain}", "--all", "--json", "--timeout", "20")
    assert time.monotonic() - started < 9
    late = [one for one in run.json["result"]["sources"] if one["outcome"] == "timeout"]
    assert [one["detail"] for one in late] == ["no answer in time"]


@pytest.mark.slow
def test_dns_queries_end_with_the_timeout_of_the_search(inside: Home) -> None:
    started = time.monotonic()
    assert (
        inside.run("identify", "info@dns-tyst.se", "--timeout", "1", "--json", **FAULTY_NAME_SERVER).json["error"][
            "code"
        ]
        == "dns.temporary"
    )
    assert time.monotonic() - started < 8  # and not the 10 s that a search may take otherwise


def test_a_timeout_that_is_not_a_number_is_a_usage_error(inside: Home) -> None:
    assert inside.run("identify", "info@mittforetag.se", "--timeout", "nan").code == 2


@pytest.mark.slow
@pytest.mark.parametrize(("domain", "source"), [("tyst.se", "autoconfig"), ("tyst-men-mx.se", "mx")])
def test_a_silent_source_does_not_delay_a_better_answer(domain: str, source: str, inside: Home) -> None:
    started = time.monotonic()
    assert inside.run("identify", f"info@{domain}", "--json").json["result"]["source"] == source
    assert time.monotonic() - started < 3.5


@pytest.fixture(scope="module")
def world_without_ispdb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The same world, where ISPDB does not answer."""
    elsewhere = tuple(
        record.replace(WEB, SILENT) if record.startswith(("autoconfig.thunderbird", "v1.ispdb")) else record
        for record in ELSEWHERE
    )
    with running(tmp_path_factory.mktemp("silent"), whole_plan(elsewhere)) as made:
        yield made


def test_an_unreachable_ispdb_does_not_delay_a_domains_own_settings(world_without_ispdb: World, home: Home) -> None:
    inside = world_without_ispdb.home(home)
    started = time.monotonic()
    assert inside.run("identify", "info@egenserver.se", "--json").json["result"]["source"] == "autoconfig"
    assert time.monotonic() - started < 3  # the database's own deadline is 5 s


def test_a_nonexistent_domain_is_reported_without_waiting_for_ispdb(world_without_ispdb: World, home: Home) -> None:
    started = time.monotonic()
    assert world_without_ispdb.home(home).run("identify", "info@finns-inte.se").code == 68
    assert time.monotonic() - started < 3


def test_the_fallback_ispdb_host_is_queried_when_the_first_is_unreachable(
    tmp_path_factory: pytest.TempPathFactory, home: Home
) -> None:
    elsewhere = tuple(
        record.replace(WEB, EMPTY) if record.startswith("autoconfig.thunderbird") else record for record in ELSEWHERE
    )
    plan = whole_plan(elsewhere)
    plan["pages"]["v1.ispdb.net"] = {"/gammalkund.se": page(autoconfig(Server("mail.gammalkund.se", 465, "SSL")))}
    with running(tmp_path_factory.mktemp("moved"), plan) as made:
        assert made.home(home).run("identify", "info@gammalkund.se", "--json").json["result"]["source"] == "ispdb"


# proxies


def test_the_proxy_of_the_environment_is_used_with_its_credentials(world: World, inside: Home) -> None:
    run = inside.run("identify", "info@egenserver.se", "--json", HTTPS_PROXY=f"http://anna:p%40ss@{WEB}:3128")
    assert run.json["result"]["source"] == "autoconfig"
    asked = [line for line in world.log() if line.startswith("proxy CONNECT autoconfig.egenserver.se:443")]
    assert "Proxy-Authorization: Basic YW5uYTpwQHNz" in asked[0]


@pytest.mark.parametrize("variables", [{"ALL_PROXY": f"http://{WEB}:3128"}, {"https_proxy": f"{WEB}:3128"}])
def test_all_proxy_and_lower_case_variables_name_a_proxy(variables: dict[str, str], world: World, inside: Home) -> None:
    before = len(world.log())
    assert inside.run("identify", "info@egenserver.se", **variables).code == 0
    assert [line for line in world.log()[before:] if line.startswith("proxy CONNECT autoconfig.egenserver.se")]


def test_no_proxy_is_honoured(world: World, inside: Home) -> None:
    before = len(world.log())
    assert (
        inside.run(
            "identify", "info@egenserver.se", HTTPS_PROXY=f"http://{WEB}:3128", NO_PROXY=".egenserver.se,egenserver.se"
        ).code
        == 0
    )
    assert not [line for line in world.log()[before:] if line.startswith("proxy CONNECT autoconfig.egenserver.se")]


@pytest.mark.parametrize(
    "proxy",
    ["http://127.0.0.1:1", "http://nobody.nowhere.se:3128", "http://", "socks5://127.0.0.1:1080", "http://x:99999"],
)
def test_an_unusable_proxy_is_reported_as_the_cause(proxy: str, inside: Home) -> None:
    run = inside.run("identify", "info@delnamn.se", "--json", HTTPS_PROXY=proxy)
    assert (run.code, run.json["error"]["code"]) == (75, "connect.unreachable")
    assert any("proxy" in cause for cause in run.json["error"]["causes"])


# output


@pytest.mark.slow
def test_unwritable_error_output_is_reported_by_the_exit_code(inside: Home) -> None:
    command = [
        *inside.prefix,
        "sh",
        "-c",
        f'("{sys.executable}" -m smtpsetup identify info@finns-inte.se; echo $? >code) 2>&1 | true; sleep 2; cat code',
    ]
    done = subprocess.run(command, env=inside.env, cwd=inside.path, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "74"
