"""Variants of domains: each is about one rule, without which its answer would be a different one."""

from __future__ import annotations

from tests.discovery.plan import (
    EMPTY,
    GOOD,
    MUTE,
    SILENT,
    WEB,
    WELL_KNOWN,
    XML,
    Domain,
    Server,
    autoconfig,
    digest,
    failed,
    found,
    mx,
    own_file,
    pacc,
    page,
    with_pacc,
)

SIGN = "autodiscover CNAME autodiscover.outlook.com."
FILTER = "mx1.mailchannels.net"


def file_of(name: str, host: str = "") -> dict[str, dict[str, dict[str, object]]]:
    """Pages with the domain's own file naming that host."""
    return own_file(name, Server(host or f"smtp.{name}", 465, "SSL"))


NOTHING = failed(68, "config.no-settings-found")
PACC_NEW, PACC_PLAIN = pacc("smtp.pacc-sist.se"), '{"protocols": {"smtp": {"host": "smtp.pacc-gammal.se"}}}'
LONG = ".".join(["a" * 60] * 3 + ["b" * 55, "se"])

DOMAINS = (
    # which hosts have the same owner as the domain
    Domain(
        "bra.se",
        (*mx("mx.bra.se"), "_submissions._tcp SRV 0 1 465 smtp.ondbra.se."),
        found("srv", "smtp.ondbra.se:465", confirm=True),
    ),
    Domain("org.uk", mx("mail12.oderland.com"), found("mx", "mail.org.uk:465", provider="oderland", confirm=True)),
    Domain(
        "omledd-men-srv.se",
        (*mx("mx.omledd-men-srv.se"), f"autoconfig A {WEB}", "_submissions._tcp SRV 0 1 465 smtp.omledd-men-srv.se."),
        found("srv", "smtp.omledd-men-srv.se:465"),
        {"autoconfig": {XML: page("", status=302, headers={"Location": "https://filer.ond.test/frammande.xml"})}},
    ),
    Domain(
        "tre-hopp.se",
        (*mx("mx.tre-hopp.se"), *(f"{host} A {WEB}" for host in ("autoconfig", "a", "b", "c"))),
        found("autoconfig", "smtp.tre-hopp.se:465"),
        {
            "autoconfig": {XML: page("", status=302, headers={"Location": "https://a.tre-hopp.se/x"})},
            "a": {"/x": page("", status=307, headers={"Location": "https://b.tre-hopp.se/x"})},
            "b": {"/x": page("", status=301, headers={"Location": "//c.tre-hopp.se/x"})},
            "c": {"/x": page(autoconfig(Server("smtp.tre-hopp.se", 465, "SSL")))},
        },
    ),
    # autoconfig
    Domain(
        "blandade-servrar.se",
        (*mx("mx.blandade-servrar.se"), f"autoconfig A {WEB}"),
        found("autoconfig", "smtp.blandade-servrar.se:465"),
        {
            "autoconfig": {
                XML: page(
                    autoconfig(
                        Server("smtp.blandade-servrar.se", 25, "STARTTLS"),
                        Server("smtp.blandade-servrar.se", 465, "SSL", auth="password-encrypted"),
                    ).replace(
                        "<outgoingServer",
                        "<outgoingServer "
                        'type="exchange"><hostname>exchange.se</hostname></outgoingServer><outgoingServer',
                        1,
                    )
                )
            }
        },
    ),
    Domain(
        "xn--hlsn-loai.se",
        (*mx("mx.xn--hlsn-loai.se"), f"autoconfig A {WEB}"),
        found("autoconfig", "smtp.xn--hlsn-loai.se:465", address="namn@hälsån.se", username="namn@hälsån.se"),
        file_of("xn--hlsn-loai.se"),
    ),
    # PACC
    with_pacc(
        "pacc-version.se",
        pacc("smtp.pacc-version.se"),
        digest(pacc("smtp.pacc-version.se")).replace("UAAC1", "UAAC9"),
        answer=NOTHING,
    ),
    with_pacc(
        "pacc-md5.se",
        pacc("smtp.pacc-md5.se"),
        digest(pacc("smtp.pacc-md5.se")).replace("sha256", "md5"),
        answer=NOTHING,
    ),
    with_pacc(
        "pacc-sist.se",
        PACC_NEW,
        digest("an older one"),
        "v=UAAC1; a=sha256; d=%%%",
        digest(PACC_NEW),
        answer=found("pacc", "smtp.pacc-sist.se:465"),
    ),
    with_pacc("pacc-gammal.se", PACC_PLAIN, answer=found("pacc", "smtp.pacc-gammal.se:465")),
    *(
        with_pacc(f"pacc-skrap{number}.se", body, answer=NOTHING)
        for number, body in enumerate(
            ("[" * 60_000, "not json", "[]", '{"protocols": {"submit": {"host": 5}}}', '{"protocols": []}')
        )
    ),
    # the MX
    Domain(
        "mx-ordning.se",
        ("@ MX 20 mailcluster.loopia.se.", "@ MX 10 mx.mx-ordning.se.", f"smtp A {GOOD}"),
        found("probe", "smtp.mx-ordning.se:465"),
    ),
    Domain("bara-skrap.se", ("@ MX 5 bad\\032name.se.",), NOTHING),
    Domain("nullmx-med-server.se", ("@ MX 0 .", f"smtp A {GOOD}"), NOTHING),
    Domain(
        "nullmx-med-fil.se",
        ("@ MX 0 .", f"autoconfig A {WEB}"),
        found("autoconfig", "smtp.nullmx-med-fil.se:465", remark="takes no mail itself"),
        file_of("nullmx-med-fil.se"),
    ),
    Domain("filter-doman.se", (*mx("mx.filtret.mimecast.com"),), NOTHING),
    Domain("cname-slut.se", (*mx(FILTER), "autodiscover CNAME autodiscover.outlook.com.ond.test."), NOTHING),
    Domain("spf-slut.se", (*mx(FILTER), '@ TXT "v=spf1 include:spf.protection.outlook.com.ond.test -all"'), NOTHING),
    Domain(
        "spf-utan-filter.se", (*mx("mx.spf-utan-filter.se"), '@ TXT "v=spf1 include:_spf.google.com -all"'), NOTHING
    ),
    Domain(
        "dkim-tatt.se",
        (*mx(FILTER), 'google._domainkey TXT "v=DKIM1;k=rsa;p=MIIB"'),
        found("mx", "smtp.gmail.com:465", provider="google-workspace", confirm=True),
    ),
    Domain(
        "filter-remark.se",
        (*mx(FILTER), SIGN),
        found("mx", "smtp.office365.com:587", provider="microsoft365", confirm=True, remark="MailChannels filters"),
    ),
    Domain(
        "vidare-fil.se",
        (*mx("route1.mx.cloudflare.net"), f"autoconfig A {WEB}"),
        found("autoconfig", "smtp.vidare-fil.se:465", remark="only forwards"),
        file_of("vidare-fil.se"),
    ),
    # one rank before the next
    Domain(
        "filter-fore-fil.se",
        (*mx(FILTER), SIGN, f"autoconfig A {WEB}"),
        found("mx", "smtp.office365.com:587", provider="microsoft365", confirm=True, confidence="medium"),
        file_of("filter-fore-fil.se"),
    ),
    Domain(
        "tecken-efter-fil.se",
        (*mx("mx.okant.net"), SIGN, f"autoconfig A {WEB}"),
        found("autoconfig", "smtp.tecken-efter-fil.se:465"),
        file_of("tecken-efter-fil.se"),
    ),
    Domain(
        "tva-filer.se",
        (*mx("mx.tva-filer.se"), f"autoconfig A {WEB}", f"@ A {WEB}"),
        found("autoconfig", "ett.tva-filer.se:465", confidence="high"),
        {
            **file_of("tva-filer.se", "ett.tva-filer.se"),
            "": {WELL_KNOWN: page(autoconfig(Server("tva.annat.net", 465, "SSL")))},
        },
    ),
    Domain(
        "valkand-fore-ispdb.se",
        (*mx("mx.okant.net"), f"@ A {WEB}"),
        found("autoconfig", "ett.valkand-fore-ispdb.se:465"),
        {"": {WELL_KNOWN: page(autoconfig(Server("ett.valkand-fore-ispdb.se", 465, "SSL")))}},
    ),
    Domain(
        "ispdb-fore-srv.se",
        (*mx("mx.okant.net"), "_submissions._tcp SRV 0 1 465 tva.ispdb-fore-srv.se."),
        found("ispdb", "ett.ispdb-fore-srv.se:465"),
    ),
    Domain(
        "omledd-fore-tecken.se",
        (*mx("mx.okant.net"), SIGN, f"autoconfig A {WEB}"),
        found("autoconfig", "smtp.ond.test:465", confirm=True),
        {"autoconfig": {XML: page("", status=302, headers={"Location": "https://filer.ond.test/frammande.xml"})}},
    ),
    Domain(
        "tecken-fore-hotell.se",
        (*mx("mx1.bashotellet.net"), SIGN),
        found("mx", "smtp.office365.com:587", provider="microsoft365", confirm=True, confidence="medium"),
    ),
    Domain(
        "hotellfil-fore-ispdb.se",
        mx("mx1.baahotellet.net"),
        found("autoconfig", "ett.baahotellet.net:465", confirm=True),
    ),
    Domain(
        "ispdb-fore-prov.se",
        (*mx("mx1.lillahotellet.net"), f"smtp A {GOOD}"),
        found("ispdb", "smtp.lillahotellet.net:465", confirm=True),
    ),
    Domain(
        "srv-vikt.se",
        (
            *mx("mx.srv-vikt.se"),
            "_submissions._tcp SRV 10 10 465 alfa.srv-vikt.se.",
            "_submissions._tcp SRV 10 90 465 zeta.srv-vikt.se.",
        ),
        found("srv", "zeta.srv-vikt.se:465"),
    ),
    Domain(
        "prov-ordning.se",
        (*mx("mx.prov-ordning.se"), f"mx A {GOOD}", f"smtp A {GOOD}"),
        found("probe", "smtp.prov-ordning.se:465"),
    ),
    Domain(
        "prov-stum.se",
        (*mx("mx.prov-stum.se"), f"smtp A {GOOD}", f"mail A {MUTE}"),
        found("probe", "smtp.prov-stum.se:465"),
    ),
    Domain(
        "gissa-tidigt.se",
        (*mx("mx.gissa-tidigt.se"), f"autoconfig A {SILENT}", f"smtp A {GOOD}"),
        found("probe", "smtp.gissa-tidigt.se:465"),
    ),
    # agreement
    Domain(
        "mx-och-srv.se",
        (*mx("aspmx.l.google.com"), "_submissions._tcp SRV 0 1 465 smtp.mx-och-srv.se."),
        found("mx", "smtp.gmail.com:465", provider="google-workspace", confirm=True, confidence="high"),
    ),
    Domain(
        "samma-agare.se",
        (*mx("aspmx1.migadu.com"), f"autoconfig A {WEB}"),
        found("mx", "smtp.migadu.com:465", provider="migadu", confirm=True, no_remark="disagree"),
        file_of("samma-agare.se", "smtp2.migadu.com"),
    ),
    Domain(
        "gmial.com",
        mx("mailcluster.loopia.se"),
        found("mx", "mailcluster.loopia.se:465", provider="loopia", confirm=True, remark="Did you mean info@gmail.com"),
    ),
    Domain(
        LONG, mx("mailcluster.loopia.se"), found("mx", "mailcluster.loopia.se:465", provider="loopia", confirm=True)
    ),
)
ELSEWHERE = (
    f"autoconfig.baahotellet.net. A {WEB}",
    f"autoconfig.envist-hotell.net. A {WEB}",
    f"mx.filtret.mimecast.com. A {GOOD}",
    f"autoconfig.filtret.mimecast.com. A {WEB}",
    f"smtp2.migadu.com. A {GOOD}",
    f"nowhere.example. A {EMPTY}",
)
ELSEWHERE_PAGES = {
    "autoconfig.baahotellet.net": {XML: page(autoconfig(Server("ett.baahotellet.net", 465, "SSL")))},
    "autoconfig.envist-hotell.net": {
        XML: page(autoconfig(Server("ett.envist-hotell.net", 465, "SSL")), needs_address=True)
    },
    "autoconfig.filtret.mimecast.com": {XML: page(autoconfig(Server("ett.mimecast.com", 465, "SSL")))},
}
ISPDB_PAGES = {
    "/v1.1/valkand-fore-ispdb.se": page(autoconfig(Server("tva.annat.net", 465, "SSL"))),
    "/v1.1/ispdb-fore-srv.se": page(autoconfig(Server("ett.ispdb-fore-srv.se", 465, "SSL"))),
    "/v1.1/baahotellet.net": page(autoconfig(Server("tva.baahotellet.net", 465, "SSL"))),
    "/v1.1/mimecast.com": page(autoconfig(Server("ett.mimecast.com", 465, "SSL"))),
}
