"""Domains whose settings, records or servers are hostile or broken."""

from __future__ import annotations

from typing import Any

from tests.discovery.plan import (
    GOOD,
    JSON,
    REFUSING,
    SILENT,
    WEB,
    WELL_KNOWN,
    XML,
    Domain,
    Server,
    autoconfig,
    digest,
    mx,
    pacc,
    page,
)

BOMB = '<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>'


ESCAPES = "\x1b]0;PWN\x07\x1b[31m\u00f6.se"
PACC_NO_LOGIN = pacc("smtp.pacc-utan.se", password=False)


def with_file(name: str, body: str, *extra: str, headers: dict[str, str] | None = None, **more: Any) -> Domain:
    """A domain that has nothing but its own autoconfig file."""
    records = (*mx(f"mx.{name}"), f"autoconfig A {WEB}", *extra)
    return Domain(name, records, pages={"autoconfig": {XML: page(body, headers=headers or {}, **more)}})


def naming(name: str, server: Server) -> Domain:
    """A domain whose file names that server."""
    return with_file(name, autoconfig(server))


def good_file(name: str) -> str:
    """A file that would be right."""
    return autoconfig(Server(f"smtp.{name}", 465, "SSL"))


# files that must not be used: (domain, a word of the reason that --all gives)
UNUSABLE: tuple[tuple[Domain, str], ...] = (
    (naming("port25.se", Server("smtp.port25.se", 25, "STARTTLS")), "port 25"),
    (naming("port0.se", Server("smtp.port0.se", 0, "SSL")), "no port"),
    (naming("port-stor.se", Server("smtp.port-stor.se", 99999, "SSL")), "no port"),
    (naming("klartext.se", Server("smtp.klartext.se", 587, "plain")), "in the clear"),
    (naming("okand-sakerhet.se", Server("smtp.okand-sakerhet.se", 465, "TLS13")), "unknown"),
    (naming("port-ord.se", Server("smtp.port-ord.se", "abc", "SSL")), "no port"),  # type: ignore[arg-type]  # what they write need not be a number
    (naming("port-bred.se", Server("smtp.port-bred.se", "\uff14\uff16\uff15", "SSL")), "no port"),  # type: ignore[arg-type]  # as above
    (naming("enkel.se", Server("mailserver", 465, "SSL")), "not the name of a host"),
    (naming("lokaldel.se", Server("%EMAILLOCALPART%.ond.test", 465, "SSL")), "not a host"),
    (with_file("kodning.se", '<?xml version="1.0" encoding="nope"?><clientConfig/>'), "not a settings file"),
    (with_file("nivaer.se", "<clientConfig>" + "<x>" * 20 + "</x>" * 20 + "</clientConfig>"), "nested"),
    (with_file("till-intranat.se", "", status=302, headers={"Location": "https://intranet/x"}), "not followed"),
    (naming("ip-adress.se", Server("203.0.113.7", 465, "SSL")), "not the name of a host"),
    (naming("ipv6-adress.se", Server("[2001:db8::1]", 465, "SSL")), "not a host"),
    (naming("lokalt.se", Server("localhost", 465, "SSL")), "not the name of a host"),
    (naming("lokalt2.se", Server("smtp.localhost", 465, "SSL")), "not the name of a host"),
    (naming("mellanslag.se", Server("smtp .mellanslag.se", 465, "SSL")), "not a host"),
    (naming("anvandare-i-namn.se", Server("smtp.bra.se@ond.test", 465, "SSL")), "not a host"),
    (naming("adress-i-namn.se", Server("%EMAILADDRESS%.ond.test", 465, "SSL")), "not a host"),
    (
        naming("radbrytning.se", Server("smtp.radbrytning.se", 465, "SSL", username="info&#13;&#10;RCPT TO:x")),
        "login name",
    ),
    (naming("styrtecken.se", Server("smtp.styrtecken.se", 465, "SSL", username="info&#x202e;moc")), "login name"),
    (naming("kerberos.se", Server("smtp.kerberos.se", 465, "SSL", auth="GSSAPI")), "does not know"),
    (
        with_file(
            "dtd.se",
            '<?xml version="1.0"?><!DOCTYPE clientConfig SYSTEM "https://ond.test/x.dtd">'
            + good_file("dtd.se").partition("?>")[2],
        ),
        "document type",
    ),
    (with_file("bomb.se", BOMB + "<clientConfig>&b;</clientConfig>"), "document type"),
    (with_file("djup.se", "<clientConfig>" + "<x>" * 2000 + "</x>" * 2000 + "</clientConfig>"), "nested"),
    (with_file("stor.se", good_file("stor.se"), padding=70_000), "larger"),
    (with_file("enorm.se", good_file("enorm.se"), padding=10_000_000), "larger"),
    (
        with_file(
            "portal.se",
            "<!DOCTYPE html><html><body>Log in to the hotel's network</body></html>",
            headers={"Content-Type": "text/html"},
        ),
        "document type",
    ),
    (with_file("portal2.se", "<html><body>Welcome</body></html>"), "not a settings file"),
    (with_file("skrap.se", "\x00\xff\xfe"), "not a settings file"),
    (
        with_file("nedgraderad.se", "", status=302, headers={"Location": "http://autoconfig.nedgraderad.se/mail.xml"}),
        "not HTTPS",
    ),
    (with_file("till-fil.se", "", status=302, headers={"Location": "file:///etc/passwd"}), "not HTTPS"),
    (with_file("till-ip.se", "", status=302, headers={"Location": f"https://{WEB}/x"}), "not followed"),
    (with_file("till-lokalt.se", "", status=302, headers={"Location": "https://localhost/x"}), "not followed"),
    (
        with_file("till-port.se", "", status=302, headers={"Location": "https://autoconfig.till-port.se:8443/x"}),
        "not followed",
    ),
    (
        with_file("till-login.se", "", status=302, headers={"Location": "https://a:b@autoconfig.till-login.se/x"}),
        "not followed",
    ),
    (with_file("runt.se", "", status=302, headers={"Location": f"https://autoconfig.runt.se{XML}"}), "redirects"),
)
UNUSABLE += tuple(
    (with_file(f"lokal{n}.se", "", status=302, headers={"Location": location}), "no web address")
    for n, location in enumerate(("https://[", "//[", "https://a.b]c/"))
)
# web servers that cannot prove their name
BAD_CERTIFICATES = tuple(
    Domain(
        f"{kind}.se",
        (*mx(f"mx.{kind}.se"), f"autoconfig A {WEB}", "_submissions._tcp SRV 0 1 465 smtp.srvnamn.se."),
        pages={"autoconfig": {XML: page(autoconfig(Server("smtp.ond.test", 465, "SSL")))}},
        certificates={"autoconfig": kind},
    )
    for kind in ("expired", "wrong-name", "unknown-ca")
)
OTHERS = (
    with_file("typlos.se", good_file("typlos.se"), headers={"Content-Type": "application/octet-stream"}),
    Domain(
        "droppande.se",
        (*mx("mx.droppande.se"), f"autoconfig A {WEB}"),
        pages={"autoconfig": {XML: page(good_file("droppande.se"), drip=True)}},
    ),
    Domain(
        "tyst.se",
        (*mx("mx.tyst.se"), f"autoconfig A {SILENT}", f"@ A {WEB}"),
        pages={"": {WELL_KNOWN: page(good_file("tyst.se"))}},
    ),
    Domain("tyst-men-mx.se", (*mx("mailcluster.loopia.se"), f"autoconfig A {SILENT}")),
    with_file("frammande.se", "", status=302, headers={"Location": "https://filer.ond.test/frammande.xml"}),
    Domain(
        "ond.test",
        (f"@ A {WEB}", f"filer A {WEB}", f"smtp A {GOOD}"),
        pages={
            "filer": {
                "/frammande.xml": page(autoconfig(Server("smtp.ond.test", 465, "SSL"))),
                "/pacc.json": page(pacc("smtp.ond.test")),
                "/hem.xml": page("", status=302, headers={"Location": "https://www.rundtur.se/mail.xml"}),
            }
        },
    ),
    Domain("ond-mx.se", mx("mx.ond-hotell.test")),
    Domain(
        "ond-hotell.test",
        (f"autoconfig A {WEB}",),
        pages={"autoconfig": {XML: page(autoconfig(Server("smtp.ond-hotell.test", 465, "SSL")))}},
    ),
    Domain("ond-srv.se", (*mx("mx.ond-srv.se"), "_submissions._tcp SRV 0 1 465 smtp.ond.test.")),
    Domain(
        "srv-fel.se",
        (
            *mx("mx.srv-fel.se"),
            "_submissions._tcp SRV 0 1 0 smtp.srv-fel.se.",
            "_submission._tcp SRV 0 1 25 smtp.srv-fel.se.",
        ),
    ),
    Domain(
        "konstiga-namn.se",
        ("@ MX 5 bad\\032name.se.", "@ MX 10 mailcluster.loopia.se.", "_submissions._tcp SRV 0 1 465 a\\007b.se."),
    ),
    Domain(
        "pacc-fel.se",
        (
            *mx("mailcluster.loopia.se"),
            f"ua-auto-config A {WEB}",
            f'_ua-auto-config TXT "{digest(pacc("smtp.pacc-fel.se"))}"',
        ),
        pages={"ua-auto-config": {JSON: page(pacc("smtp.ond.test"))}},
    ),
    Domain(
        "pacc-omledd.se",
        (
            *mx("mailcluster.loopia.se"),
            f"ua-auto-config A {WEB}",
            f'_ua-auto-config TXT "{digest(pacc("smtp.ond.test"))}"',
        ),
        pages={
            "ua-auto-config": {JSON: page("", status=302, headers={"Location": "https://filer.ond.test/pacc.json"})}
        },
    ),
    # names of other owners, below which nothing may be asked
    Domain(
        "co.uk",
        (f"autoconfig A {WEB}", f"smtp A {GOOD}", f"@ A {WEB}"),
        pages={"autoconfig": {XML: page(autoconfig(Server("smtp.ond.test", 465, "SSL")))}},
    ),
    Domain("suffix-mx.se", mx("mx.co.uk")),
    # other owners' names that a careless encoding would lead to
    Domain("strasse.de", mx("mailcluster.loopia.se")),
    Domain("xn--strae-oqa.de", mx("mx1.pub.mailpod1-cph3.one.com")),
    Domain("xn--exmple-4nf.com", mx("aspmx.l.google.com")),
    Domain(
        "envis-med-tecken.se",
        (*mx("mx.envis-med-tecken.se"), f"autoconfig A {WEB}"),
        pages={"autoconfig": {XML: page(good_file("envis-med-tecken.se"), needs_address=True)}},
    ),
    # a server that refuses every password, with a second one beside it
    Domain(
        "avvisad.se",
        (*mx("mx.avvisad.se"), f"autoconfig A {WEB}", f"smtp A {REFUSING}", f"mail A {GOOD}"),
        pages={
            "autoconfig": {
                XML: page(autoconfig(Server("smtp.avvisad.se", 465, "SSL"), Server("mail.avvisad.se", 465, "SSL")))
            }
        },
    ),
    # moved to another server; the old one still answers, and refuses
    Domain(
        "flyttad.se",
        (*mx("mx.flyttad.se"), f"autoconfig A {WEB}", f"smtp A {REFUSING}"),
        pages={"autoconfig": {XML: page(autoconfig(Server("smtp.hotellet.net", 465, "SSL")))}},
    ),
    Domain(
        "bra-egen.se",
        (*mx("mx.bra-egen.se"), f"autoconfig A {WEB}", f"smtp A {GOOD}"),
        pages={"autoconfig": {XML: page(good_file("bra-egen.se"))}},
    ),
    Domain(
        "dns-sen.se",
        (*mx("mx.dns-sen.se"), f"autoconfig A {WEB}"),
        pages={"autoconfig": {XML: page(good_file("dns-sen.se"))}},
    ),
    # another public suffix lies between these hosts and the domain
    Domain("wiardweb.com", (*mx("mx.wiardweb.com"), "_submissions._tcp SRV 0 1 465 smtp.ond.pages.wiardweb.com.")),
    # names with something for the terminal in them
    Domain(
        "fragment.se",
        (*mx("mx.fragment.se"), f"autoconfig A {WEB}"),
        pages={
            "autoconfig": {
                XML: page(
                    "",
                    status=302,
                    headers={"Location": "https://filer.ond.test/frammande.xml#\x1b]0;PWNED\x07\x1b[31m"},
                )
            }
        },
    ),
    Domain(
        "ankare.se",
        (*mx("mx.ankare.se"), f"autoconfig A {WEB}"),
        pages={
            "autoconfig": {
                XML: page("", status=302, headers={"Location": "https://filer.ond.test/frammande.xml#ett-ankare"})
            }
        },
    ),
    Domain(
        "pacc-escape.se",
        (*mx("mx.pacc-escape.se"), f"ua-auto-config A {WEB}", f'_ua-auto-config TXT "{digest(pacc(ESCAPES))}"'),
        pages={"ua-auto-config": {JSON: page(pacc(ESCAPES))}},
    ),
    naming("escape.se", Server("a&#x9b;31m&#x202e;\u00f6.se", 465, "SSL")),
    naming("langt-namn.se", Server("smtp.langt-namn.se", 465, "SSL", username="a" * 5000)),
    naming("langt-fel.se", Server("b" * 40_000, 465, "SSL")),
    with_file("manga-fel.se", autoconfig(*(Server(f"s{n}.localhost", 465, "SSL") for n in range(400)))),
    Domain(
        "pacc-utan.se",
        (*mx("mx.pacc-utan.se"), f"ua-auto-config A {WEB}", f'_ua-auto-config TXT "{digest(PACC_NO_LOGIN)}"'),
        pages={"ua-auto-config": {JSON: page(PACC_NO_LOGIN)}},
    ),
    Domain("envist-kund.se", mx("mx1.envist-hotell.net")),
    # MX records
    Domain("nastan-null.se", ("@ MX 0 .", "@ MX 10 mailcluster.loopia.se.")),
    Domain("understreck.se", mx("mail_1.lillahotellet.net")),
    Domain("mx-ip.se", (f"@ MX 10 {GOOD}.", "@ MX 20 localhost.")),
    Domain("manga-mx.se", tuple(f"@ MX 10 {'a.' * 50}h{n}.okant.net." for n in range(60))),
    Domain("tecken-tyst.se", mx("mx.okant.net")),
    Domain("srv-tyst.se", mx("mx.srv-tyst.se")),
    # redirects that lead back to the owner's host, by way of another owner's
    with_file("rundtur.se", "", status=302, headers={"Location": "https://filer.ond.test/hem.xml"}),
    Domain("www.rundtur.se", (f"@ A {WEB}",), pages={"": {"/mail.xml": page(good_file("rundtur.se"))}}),
    # a file that names a known provider's host and somebody else's
    with_file("blandat.se", autoconfig(Server("smtp.migadu.com", 465, "SSL"), Server("smtp.ond.test", 465, "SSL"))),
    Domain(
        "tva-varder.se",
        (
            *mx("mx.okant.net"),
            "_submissions._tcp SRV 0 1 465 smtp.ond.test.",
            "_submissions._tcp SRV 1 1 465 smtp.hotellet.net.",
        ),
    ),
    Domain("dns-vagrar.se", mx("mailcluster.loopia.se")),
    Domain("dns-tyst.se", mx("mailcluster.loopia.se")),
    Domain("dns-trasig.se", mx("mailcluster.loopia.se")),
)
DOMAINS = (*(domain for domain, _reason in UNUSABLE), *BAD_CERTIFICATES, *OTHERS)
DNS_BEHAVIOUR = {
    "autodiscover.tecken-tyst.se": "silent",
    "_submissions._tcp.srv-tyst.se": "silent",
    "dns-vagrar.se": "REFUSED",
    "dns-tyst.se": "silent",
    "dns-trasig.se": "SERVFAIL",
}
