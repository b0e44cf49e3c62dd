"""What the other side says is not believed further than something vouches for it.

Each test fails without the defence that it is about.
"""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.discovery.attacks import BAD_CERTIFICATES, UNUSABLE
from tests.discovery.conftest import running, whole_plan
from tests.discovery.domains import ELSEWHERE, EMPTY, SILENT, WEB, Domain, Server, autoconfig, page

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Home
    from tests.discovery.conftest import World

FRONT = {"SMTPSETUP_NAMESERVER": "127.0.0.2"}


def sources(result: dict[str, Any], name: str) -> list[dict[str, Any]]:
    return [one for one in result["sources"] if one["source"] == name]


@pytest.mark.matrix
@pytest.mark.parametrize(("domain", "reason"), UNUSABLE, ids=[domain.name for domain, _reason in UNUSABLE])
def test_an_unusable_settings_file_is_refused_with_its_reason(domain: Domain, reason: str, inside: Home) -> None:
    run = inside.run("identify", f"info@{domain.name}", "--all", "--json")
    assert run.code == 68
    assert run.json["error"]["code"] == "config.no-settings-found"
    (report,) = [
        one for one in sources(run.json["result"], "autoconfig") if one["origin"].startswith("https://autoconfig.")
    ]
    assert report["outcome"] == "refused"
    assert reason in report["detail"]
    assert any(reason in cause for cause in run.json["error"]["causes"])


@pytest.mark.parametrize("domain", BAD_CERTIFICATES, ids=lambda domain: domain.name)
def test_a_web_server_with_a_bad_certificate_is_reported_and_not_used(domain: Domain, inside: Home) -> None:
    run = inside.run("identify", f"info@{domain.name}", "--all", "--json")
    result = run.json["result"]
    assert result["source"] == "srv"
    failures = [one for one in sources(result, "autoconfig") if one["outcome"] == "failed"]
    assert ["certificate" in one["detail"] for one in failures] == [True]


def test_the_content_type_of_a_settings_file_does_not_matter(inside: Home) -> None:
    assert inside.run("identify", "info@typlos.se", "--json").json["result"]["source"] == "autoconfig"


def test_no_settings_are_requested_without_tls(world: World, inside: Home) -> None:
    inside.run("identify", "info@nedgraderad.se")
    inside.run("identify", "info@egenserver.se")
    assert not [line for line in world.log() if line.startswith("http ")]


def test_a_redirect_to_another_owner_needs_confirmation(inside: Home) -> None:
    result = inside.run("identify", "info@frammande.se", "--all", "--json").json["result"]
    assert result["servers"][0]["host"] == "smtp.ond.test"
    assert result["needs_confirmation"] is True
    assert result["candidates"][0]["trust"] == "dns"


@pytest.mark.parametrize("domain", ["ond-mx.se", "ond-srv.se"])
def test_a_host_known_from_dns_alone_needs_confirmation(domain: str, inside: Home) -> None:
    result = inside.run("identify", f"info@{domain}", "--json").json["result"]
    assert result["servers"][0]["host"].endswith(".test")
    assert result["needs_confirmation"] is True


def test_a_pacc_document_with_another_digest_is_refused(inside: Home) -> None:
    result = inside.run("identify", "info@pacc-fel.se", "--all", "--json").json["result"]
    assert result["provider"]["id"] == "loopia"
    assert [one["outcome"] for one in sources(result, "pacc")] == ["refused"]


def test_a_pacc_document_is_not_fetched_from_another_owner(inside: Home) -> None:
    result = inside.run("identify", "info@pacc-omledd.se", "--all", "--json").json["result"]
    assert result["provider"]["id"] == "loopia"
    assert [one["outcome"] for one in sources(result, "pacc")] == ["refused"]


def test_srv_records_that_cannot_be_used_are_refused_with_the_reason(inside: Home) -> None:
    run = inside.run("identify", "info@srv-fel.se", "--all", "--json")
    assert run.code == 68
    (report,) = sources(run.json["result"], "srv")
    assert "no port" in report["detail"]
    assert "port 25" in report["detail"]


def test_invalid_host_names_in_dns_are_skipped(inside: Home) -> None:
    run = inside.run("identify", "info@konstiga-namn.se", "--all")
    assert "Loopia" in run.out
    assert "\x07" not in run.out


@pytest.mark.parametrize("address", ["info@co.uk", "info@suffix-mx.se"])
def test_no_host_below_a_public_suffix_is_queried(address: str, world: World, inside: Home) -> None:
    run = inside.run("identify", address, "--json")
    assert run.code == 68
    assert not [line for line in world.log() if "autoconfig.co.uk" in line]


@pytest.mark.parametrize(
    ("address", "provider"),
    [
        ("info@straße.de", "one-com"),
        ("info@strasse.de", "loopia"),
        ("info@ex\u0430mple.com", "google-workspace"),
        ("info@\uff56\uff45\uff52\uff4b\uff53\uff54\uff41\uff4e.se", "google-workspace"),
    ],
)
def test_an_international_domain_is_looked_up_by_its_own_a_label(address: str, provider: str, inside: Home) -> None:
    assert inside.run("identify", address, "--json").json["result"]["provider"]["id"] == provider


def test_a_look_alike_domain_is_shown_as_its_a_label(inside: Home) -> None:
    assert "xn--exmple-4nf.com" in inside.run("identify", "info@ex\u0430mple.com").out


def test_the_address_is_sent_quoted_to_a_server_that_requires_it(world: World, inside: Home) -> None:
    assert inside.run("identify", "a&b#c@envis-med-tecken.se", "--json").json["result"]["source"] == "autoconfig"
    asked = [line for line in world.log() if "emailaddress" in line and "envis-med" in line]
    assert asked == [
        "https autoconfig.envis-med-tecken.se/mail/config-v1.1.xml?emailaddress=a%26b%23c%40envis-med-tecken.se"
    ]


def test_a_sub_address_is_left_out_of_the_login_name(inside: Home) -> None:
    assert inside.run("identify", "info+faktura@delnamn.se", "--json").json["result"]["username"] == "info"


def test_discovery_never_logs_in_or_names_the_person(world: World, inside: Home) -> None:
    before = len(world.log())
    for domain in ("gissad.se", "oense.se", "ingen-inloggning.se", "smahotell.se", "bakom-proofpoint.com"):
        inside.run("identify", f"hemlig.person@{domain}", "--all")
    said = world.log()[before:]
    assert not [line for line in said if line.startswith("smtp") and ("AUTH" in line or "MAIL" in line)]
    assert not [line for line in said if "hemlig" in line]
    assert any(line.endswith("QUIT") for line in said)


def test_ispdb_is_not_queried_when_turned_off(world: World, inside: Home) -> None:
    run = inside.run("identify", "info@databasen.se", "--no-ispdb", "--all", "--json")
    assert not sources(run.json["result"], "ispdb")
    before = len(world.log())
    inside.file(".config/smtpsetup/config.toml", "ispdb = false\n")
    inside.run("identify", "info@databasen.se")
    assert not [line for line in world.log()[before:] if "thunderbird" in line]


def test_the_proxy_of_the_environment_is_used_with_its_credentials(world: World, inside: Home) -> None:
    run = inside.run("identify", "info@egenserver.se", "--json", HTTPS_PROXY=f"http://anna:p%40ss@{WEB}:3128")
    assert run.json["result"]["source"] == "autoconfig"
    asked = [line for line in world.log() if line.startswith("proxy CONNECT autoconfig.egenserver.se:443")]
    assert "Proxy-Authorization: Basic YW5uYTpwQHNz" in asked[0]


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
    run = inside.run("identify", f"info@{domain}", "--json", **FRONT)
    assert run.code == 75
    error = run.json["error"]
    assert error["code"] == "dns.temporary"
    assert error["retry"] is True
    assert word in error["causes"][0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("value", "code"),
    [("127.0.0.2", 0), ("127.0.0.2:53", 0), ("127.0.0.9:5353", 75), ("127.0.0.2:port", 78), (":53", 78), ("[::1", 75)],
)
def test_another_name_server_can_be_configured(value: str, code: int, inside: Home) -> None:
    run = inside.run("identify", "info@mittforetag.se", "--json", "--timeout", "3", SMTPSETUP_NAMESERVER=value)
    assert run.code == code, run.out


@pytest.mark.slow
def test_a_dripping_server_cannot_extend_the_deadline(inside: Home) -> None:
    started = time.monotonic()
    run = inside.run("identify", "info@droppande.se", "--timeout", "2", "--json")
    assert time.monotonic() - started < 5
    assert run.code in (68, 75)


def test_a_search_slowed_by_a_dripping_server_ends_at_its_timeout(inside: Home) -> None:
    started = time.monotonic()
    run = inside.run("identify", "info@droppande.se", "--timeout", "0.6", "--json")
    assert time.monotonic() - started < 3
    assert run.code == 75
    assert "--timeout" in " ".join(run.json["error"]["hints"])


@pytest.fixture(scope="module")
def world_without_database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The same world, Thunderbird's database in a black hole."""
    elsewhere = tuple(
        record.replace(WEB, SILENT) if record.startswith(("autoconfig.thunderbird", "v1.ispdb")) else record
        for record in ELSEWHERE
    )
    plan = whole_plan(elsewhere=elsewhere)
    with running(tmp_path_factory.mktemp("silent"), plan) as made:
        yield made


def test_an_unreachable_ispdb_does_not_delay_a_domains_own_settings(world_without_database: World, home: Home) -> None:
    inside = world_without_database.home(home)
    started = time.monotonic()
    assert inside.run("identify", "info@egenserver.se", "--json").json["result"]["source"] == "autoconfig"
    assert time.monotonic() - started < 3  # the database's own deadline is 5 s


@pytest.mark.slow
@pytest.mark.parametrize(("domain", "source"), [("tyst.se", "autoconfig"), ("tyst-men-mx.se", "mx")])
def test_a_silent_source_does_not_delay_a_better_answer(domain: str, source: str, inside: Home) -> None:
    started = time.monotonic()
    assert inside.run("identify", f"info@{domain}", "--json").json["result"]["source"] == source
    assert time.monotonic() - started < 3.5


def password_file(home: Home) -> str:
    return str(home.file("password", "hemligt-lösenord\n"))


def test_no_password_goes_to_an_unconfirmed_host(world: World, inside: Home) -> None:
    before = len(world.log())
    run = inside.run("configure", "info@srv-utanfor.se", "--password-file", password_file(inside), "--json")
    assert run.code == 78
    assert "--accept-host smtp.hotellet.net" in " ".join(run.json["error"]["hints"])
    assert not [line for line in world.log()[before:] if line.startswith("smtp")]


@pytest.mark.parametrize("accepted", ["smtp.annanstans.net", "hotellet.net"])
def test_accept_host_confirms_that_one_host_alone(accepted: str, world: World, inside: Home) -> None:
    before = len(world.log())
    run = inside.run(
        "configure", "info@srv-utanfor.se", "--password-file", password_file(inside), "--accept-host", accepted
    )
    assert run.code == 78
    assert not [line for line in world.log()[before:] if line.startswith("smtp")]


def test_a_confirmed_host_is_used(inside: Home) -> None:
    run = inside.run(
        "configure",
        "info@srv-utanfor.se",
        "--password-file",
        password_file(inside),
        "--accept-host",
        "smtp.hotellet.net",
        "--json",
    )
    assert run.code == 0, run.err
    assert run.json["result"]["host"] == "smtp.hotellet.net"


def test_a_host_of_the_domain_itself_needs_no_confirmation(inside: Home) -> None:
    run = inside.run("configure", "info@bra-egen.se", "--password-file", password_file(inside), "--json")
    assert run.code == 0, run.err
    assert (run.json["result"]["host"], run.json["result"]["provider"]) == ("smtp.bra-egen.se", None)


def test_after_a_refused_login_no_second_host_gets_the_password(world: World, inside: Home) -> None:
    before = len(world.log())
    run = inside.run("configure", "info@avvisad.se", "--password-file", password_file(inside), "--json")
    assert run.code == 77
    assert len([line for line in world.log()[before:] if " AUTH " in line]) == 1


def test_a_host_below_another_public_suffix_needs_confirmation(inside: Home) -> None:
    assert inside.run("identify", "info@wiardweb.com", "--json").json["result"]["needs_confirmation"] is True


@pytest.mark.matrix
@pytest.mark.parametrize(
    "domain",
    ["fragment.se", "ankare.se", "pacc-escape.se", "escape.se", "langt-fel.se", "manga-fel.se", "konstiga-namn.se"],
)
@pytest.mark.parametrize("option", ["--all", "--json", "--no-input"])
def test_what_servers_send_is_shown_escaped_and_bounded(domain: str, option: str, inside: Home) -> None:
    run = inside.run("identify", f"info@{domain}", option)
    shown = run.out + run.err
    assert all(char.isprintable() or char == "\n" for char in shown)
    assert "ett-ankare" not in shown
    assert len(shown) < 12_000


def test_an_overlong_login_name_is_refused(inside: Home) -> None:
    assert inside.run("identify", "info@langt-namn.se").code == 68


def test_a_pacc_document_without_a_usable_login_is_refused(inside: Home) -> None:
    run = inside.run("identify", "info@pacc-utan.se", "--all", "--json")
    assert [one["outcome"] for one in sources(run.json["result"], "pacc")] == ["refused"]


def test_a_null_mx_beside_another_mx_is_ignored(inside: Home) -> None:
    assert inside.run("identify", "info@nastan-null.se", "--json").json["result"]["provider"]["id"] == "loopia"


def test_an_mx_host_with_an_underscore_leads_to_its_owner(inside: Home) -> None:
    assert (
        inside.run("identify", "info@understreck.se", "--json").json["result"]["servers"][0]["host"]
        == "smtp.lillahotellet.net"
    )


def test_an_mx_that_is_an_ip_address_or_localhost_is_not_probed(world: World, inside: Home) -> None:
    before = len(world.log())
    assert inside.run("identify", "info@mx-ip.se", "--all").code == 68
    assert not [line for line in world.log()[before:] if line.startswith("smtp")]


def test_a_flood_of_mx_records_is_cut_short(inside: Home) -> None:
    started = time.monotonic()
    assert inside.run("identify", "info@manga-mx.se").code == 68
    assert time.monotonic() - started < 5


@pytest.mark.slow
@pytest.mark.parametrize("domain", ["tecken-tyst.se", "srv-tyst.se"])
def test_a_name_server_that_drops_some_queries_is_a_temporary_failure(domain: str, inside: Home) -> None:
    run = inside.run("identify", f"info@{domain}", "--json", **FRONT)
    assert (run.code, run.json["error"]["code"]) == (75, "dns.temporary")


def test_a_redirect_that_returns_through_another_owner_is_trusted_as_dns(inside: Home) -> None:
    result = inside.run("identify", "info@rundtur.se", "--all", "--json").json["result"]
    assert result["candidates"][0]["trust"] == "dns"


def test_a_file_with_a_foreign_host_beside_a_providers_names_no_provider(inside: Home) -> None:
    result = inside.run("identify", "info@blandat.se", "--json").json["result"]
    assert result["provider"] is None


def test_accept_host_may_confirm_the_second_server(inside: Home) -> None:
    run = inside.run(
        "configure",
        "info@tva-varder.se",
        "--password-file",
        password_file(inside),
        "--accept-host",
        "smtp.hotellet.net",
        "--json",
    )
    assert run.code == 0, run.err
    assert run.json["result"]["host"] == "smtp.hotellet.net"


@pytest.mark.parametrize(
    "proxy",
    ["http://127.0.0.1:1", "http://nobody.nowhere.se:3128", "http://", "socks5://127.0.0.1:1080", "http://x:99999"],
)
def test_an_unusable_proxy_is_reported_as_the_cause(proxy: str, inside: Home) -> None:
    run = inside.run("identify", "info@delnamn.se", "--json", HTTPS_PROXY=proxy)
    assert (run.code, run.json["error"]["code"]) == (75, "connect.unreachable")
    assert any("proxy" in cause for cause in run.json["error"]["causes"])


@pytest.mark.parametrize(
    "lines",
    [
        "nameserver foo\nnameserver 127.0.0.1\n",
        "nameserver 127.0.0.1#53\nnameserver 127.0.0.1\n",
        "# \xe5\nnameserver 127.0.0.1\n",
    ],
)
def test_an_invalid_line_of_resolv_conf_is_ignored(lines: str, inside: Home) -> None:
    file = inside.file("resolv.conf", lines.encode("latin-1"), 0o644)
    bind = ("unshare", "--mount", "sh", "-c", f'mount --bind {file} /etc/resolv.conf && exec "$@"', "sh")
    odd = replace(inside, prefix=(*inside.prefix, *bind))
    assert odd.run("identify", "info@mittforetag.se").code == 0


def test_a_name_server_given_by_name_does_not_extend_the_timeout(inside: Home) -> None:
    started = time.monotonic()
    run = inside.run(
        "identify", "info@mittforetag.se", "--timeout", "1", "--json", SMTPSETUP_NAMESERVER="\x1b[31mns.nowhere.se"
    )
    assert time.monotonic() - started < 4
    assert run.code in (75, 78)
    assert "\x1b" not in run.out + run.err


def test_a_timeout_that_is_not_a_number_is_a_usage_error(inside: Home) -> None:
    assert inside.run("identify", "info@mittforetag.se", "--timeout", "nan").code == 2


def test_ispdb_is_not_queried_when_the_configuration_is_unreadable(world: World, inside: Home) -> None:
    before = len(world.log())
    inside.file(".config/smtpsetup/config.toml", "", 0o644)
    run = inside.run("identify", "info@mittforetag.se")
    assert run.code == 0
    assert "was not asked" in run.err
    assert not [line for line in world.log()[before:] if "thunderbird" in line]


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


@pytest.mark.parametrize("domain", ["envist-kund.se", "tom.se", "gissad.se", "delnamn.se"])
def test_the_address_is_not_sent_to_servers_that_do_not_require_it(domain: str, world: World, inside: Home) -> None:
    before = len(world.log())
    inside.run("identify", f"info@{domain}", "--all")
    assert not [line for line in world.log()[before:] if "emailaddress" in line]


def test_the_fallback_ispdb_host_is_not_queried_when_the_first_answers(world: World, inside: Home) -> None:
    before = len(world.log())
    inside.run("identify", "info@tom.se", "--all")
    assert not [line for line in world.log()[before:] if "v1.ispdb.net" in line]


def test_the_fallback_ispdb_host_is_queried_when_the_first_is_unreachable(
    tmp_path_factory: pytest.TempPathFactory, home: Home
) -> None:
    elsewhere = tuple(
        record.replace(WEB, EMPTY) if record.startswith("autoconfig.thunderbird") else record for record in ELSEWHERE
    )
    plan = whole_plan(elsewhere=elsewhere)
    plan["pages"]["v1.ispdb.net"] = {"/gammalkund.se": page(autoconfig(Server("mail.gammalkund.se", 465, "SSL")))}
    with running(tmp_path_factory.mktemp("moved"), plan) as made:
        assert made.home(home).run("identify", "info@gammalkund.se", "--json").json["result"]["source"] == "ispdb"


def test_a_nonexistent_domain_is_reported_without_waiting_for_ispdb(world_without_database: World, home: Home) -> None:
    started = time.monotonic()
    assert world_without_database.home(home).run("identify", "info@finns-inte.se").code == 68
    assert time.monotonic() - started < 3


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
        inside.run("identify", "info@dns-tyst.se", "--timeout", "1", "--json", **FRONT).json["error"]["code"]
        == "dns.temporary"
    )
    assert time.monotonic() - started < 8  # and not the 10 s that a search may take otherwise


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


def test_configure_does_not_query_ispdb_when_turned_off(world: World, inside: Home) -> None:
    before = len(world.log())
    inside.run("configure", "info@databasen.se", "--no-ispdb", "--password-file", password_file(inside))
    assert not [line for line in world.log()[before:] if "thunderbird" in line]


def test_a_null_mx_is_reported_and_no_server_is_probed(world: World, inside: Home) -> None:
    before = len(world.log())
    assert "null MX" in inside.run("identify", "info@nullmx-med-server.se").err
    assert not [line for line in world.log()[before:] if line.startswith("smtp")]


def test_the_search_list_of_resolv_conf_is_not_applied(inside: Home) -> None:
    file = inside.file("resolv.conf", "search verkstan.se\nnameserver 127.0.0.1\n", 0o644)
    bind = ("unshare", "--mount", "sh", "-c", f'mount --bind {file} /etc/resolv.conf && exec "$@"', "sh")
    assert replace(inside, prefix=(*inside.prefix, *bind)).run("identify", "info@finns-inte.se").code == 68


def test_a_failing_name_server_leads_to_a_hint_to_use_another(inside: Home) -> None:
    assert "SMTPSETUP_NAMESERVER=" in inside.run("identify", "info@servfail.se").err
