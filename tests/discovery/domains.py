"""Domains as they are found in the wild, each with its right answer."""

from __future__ import annotations

from tests.discovery.plan import (
    CLEAR_LOGIN,
    EMPTY,
    EXPIRED,
    GOOD,
    NO_AUTH,
    ONLY_587,
    SLOW,
    STRIPPED,
    TOKENS_ONLY,
    UNKNOWN_CA,
    WEB,
    WELL_KNOWN,
    WRONG_NAME,
    XML,
    Domain,
    Server,
    at_provider,
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

PACC_OLD, PACC_SPLIT = pacc("smtp.pacc-rollover.se"), pacc("smtp.pacc-delad.se")
PACC_TOKENS = pacc("smtp.pacc-tokens.se", password=False, **{"oauth-public": {"issuer": "https://auth.pacc-tokens.se"}})
MIGADU = Server("smtp.migadu.com", 465, "SSL")
DOMAINS = (
    # at a provider of the table, by MX
    at_provider(
        "verkstan.se",
        "aspmx.l.google.com",
        "google-workspace",
        "smtp.gmail.com:465",
        '@ TXT "v=spf1 include:_spf.google.com ~all"',
    ),
    at_provider("nystartat.se", "smtp.google.com", "google-workspace", "smtp.gmail.com:465"),
    at_provider("reservordning.se", "alt3.aspmx.l.google.com", "google-workspace", "smtp.gmail.com:465"),
    at_provider("kommunen.se", "kommunen-se.mail.protection.outlook.com", "microsoft365", "smtp.office365.com:587"),
    at_provider("dnssec-kommunen.se", "dnssec-kommunen-se.r-v1.mx.microsoft", "microsoft365", "smtp.office365.com:587"),
    at_provider("mittforetag.se", "mx1.pub.mailpod1-cph3.one.com", "one-com", "send.one.com:465"),
    at_provider("bageriet.se", "mailcluster.loopia.se", "loopia", "mailcluster.loopia.se:465"),
    at_provider("akeriet.se", "mx1.websupport.se", "websupport-se", "smtp.websupport.se:465"),
    at_provider("fastboende.se", "in1-smtp.messagingengine.com", "fastmail", "smtp.fastmail.com:465"),
    at_provider("appelgarden.se", "mx01.mail.icloud.com", "icloud", "smtp.mail.me.com:587"),
    at_provider("zoholaget.se", "mx.zoho.eu", "zoho-eu", "smtp.zoho.eu:465"),
    at_provider("zoho-usa.com", "mx.zoho.com", "zoho-com", "smtp.zoho.com:465"),
    at_provider("hemligt.se", "mail.protonmail.ch", "proton", "smtp.protonmail.ch:587"),
    at_provider("norsk.no", "mx.domeneshop.no", "domeneshop", "smtp.domeneshop.no:465", username=None),
    at_provider("fransk.fr", "mx1.mail.ovh.net", "ovh", "ssl0.ovh.net:465"),
    at_provider("schweizisk.ch", "mta-gw.infomaniak.ch", "infomaniak", "mail.infomaniak.com:465"),
    at_provider("gandikund.fr", "spool.mail.gandi.net", "gandi", "mail.gandi.net:465"),
    at_provider("migadukund.se", "aspmx1.migadu.com", "migadu", "smtp.migadu.com:465"),
    at_provider("tysk.de", "mxext1.mailbox.org", "mailbox-org", "smtp.mailbox.org:465"),
    at_provider("hostat.eu", "mx1.hostinger.com", "hostinger", "smtp.hostinger.com:465"),
    at_provider("bahnhofskund.se", "mx1.bahnhof.se", "bahnhof", "mailout.privat.bahnhof.se:465", username=None),
    at_provider("glesbygd.se", "mx01.glesys.se", "glesys", "mail.glesys.se:465"),
    at_provider("yandexkund.ru", "mx.yandex.net", "yandex", "smtp.yandex.com:465"),
    Domain(
        "odlarna.se",
        (*mx("mail12.oderland.com"), f"mail A {GOOD}"),
        found("mx", "mail.odlarna.se:465", provider="oderland"),
        # a row whose server is below the customer's own domain needs no confirmation
    ),
    Domain("tutakund.se", mx("mail.tutanota.de"), failed(69, "config.provider-without-smtp")),
    at_provider(
        "xn--mindomn-bxa.se", "mailcluster.loopia.se", "loopia", "mailcluster.loopia.se:465", address="namn@mindomän.se"
    ),
    at_provider("avdelning.storforetaget.se", "aspmx.l.google.com", "google-workspace", "smtp.gmail.com:465"),
    at_provider("firma.co.uk", "mx1.pub.mailpod1-cph3.one.com", "one-com", "send.one.com:465"),
    Domain(
        "reservmottagare.se",
        (*mx("mx.reservmottagare.se", "mailcluster.loopia.se"), f"mx A {EMPTY}", f"smtp A {GOOD}"),
        found("probe", "smtp.reservmottagare.se:465", confidence="low"),
        # a less preferred MX may belong to a backup service: it says nothing about the mailbox
    ),
    # settings that the domain itself publishes
    Domain(
        "egenserver.se",
        (*mx("mx.egenserver.se"), f"mx A {GOOD}", f"autoconfig A {WEB}"),
        found("autoconfig", "mail.egenserver.se:465", confidence="high"),
        own_file(
            "egenserver.se", Server("mail.egenserver.se", 587, "STARTTLS"), Server("mail.egenserver.se", 465, "SSL")
        ),
    ),
    Domain(
        "valkand.se",
        (*mx("mx.valkand.se"), f"@ A {WEB}"),
        found("autoconfig", "smtp.valkand.se:587", confidence="high"),
        {"": {WELL_KNOWN: page(autoconfig(Server("smtp.valkand.se", 587, "STARTTLS")))}},
    ),
    Domain(
        "delegerad.se",
        (*mx("mx.hotellet.net"), f"autoconfig A {WEB}"),
        found("autoconfig", "smtp.hotellet.net:465", confirm=False),
        own_file("delegerad.se", Server("smtp.hotellet.net", 465, "SSL")),
        # TLS binds the file to the domain, so the host outside it needs no confirmation
    ),
    Domain(
        "delnamn.se",
        (*mx("mx.delnamn.se"), f"autoconfig A {WEB}"),
        found("autoconfig", "smtp.delnamn.se:465", username="info"),
        own_file("delnamn.se", Server("smtp.%EMAILDOMAIN%", 465, "SSL", username="%EMAILLOCALPART%")),
    ),
    Domain(
        "envis.se",
        (*mx("mx.envis.se"), f"autoconfig A {WEB}"),
        found("autoconfig", "smtp.envis.se:465"),
        {"autoconfig": {XML: page(autoconfig(Server("smtp.envis.se", 465, "SSL")), needs_address=True)}},
        # a server that insists on the address gets it
    ),
    Domain(
        "polletter.se",
        (*mx("mx.polletter.se"), f"autoconfig A {WEB}"),
        found("autoconfig", "smtp.polletter.se:465", auth=["oauth2"]),
        own_file("polletter.se", Server("smtp.polletter.se", 465, "SSL", auth="OAuth2")),
    ),
    Domain(
        "flyttat.se",
        (*mx("mx.flyttat.se"), f"autoconfig A {WEB}", f"www A {WEB}"),
        found("autoconfig", "smtp.flyttat.se:465", confidence="high"),
        {
            "autoconfig": {XML: page("", status=302, headers={"Location": "https://www.flyttat.se/mail.xml"})},
            "www": {"/mail.xml": page(autoconfig(Server("smtp.flyttat.se", 465, "SSL")))},
        },
        # a redirect to a host of the same owner keeps what TLS binds
    ),
    with_pacc("pacc.se", pacc("smtp.pacc.se"), answer=found("pacc", "smtp.pacc.se:465", confidence="high")),
    with_pacc(
        "pacc-utanfor.se",
        pacc("submit.mailhotell.net"),
        answer=found("pacc", "submit.mailhotell.net:465"),
        exchange="mx.mailhotell.net",
    ),
    with_pacc(
        "pacc-rollover.se",
        PACC_OLD,
        digest(PACC_OLD),
        digest("a newer one"),
        answer=found("pacc", "smtp.pacc-rollover.se:465"),
    ),
    # the strings of one TXT record are one text
    with_pacc(
        "pacc-delad.se",
        PACC_SPLIT,
        digest(PACC_SPLIT)[:20] + '" "' + digest(PACC_SPLIT)[20:],
        answer=found("pacc", "smtp.pacc-delad.se:465"),
    ),
    with_pacc("pacc-tokens.se", PACC_TOKENS, answer=found("pacc", "smtp.pacc-tokens.se:465", auth=["oauth2"])),
    # what the owner bound to the domain twice outranks the MX
    with_pacc(
        "pacc-fore-mx.se",
        pacc("smtp.migadu.com"),
        answer=found("pacc", "smtp.migadu.com:465", provider="migadu"),
        exchange="aspmx.l.google.com",
    ),
    # SRV
    Domain(
        "cpanelkund.se",
        (
            "@ MX 0 cpanelkund.se.",
            f"@ A {GOOD}",
            f"mail A {GOOD}",
            "_submissions._tcp SRV 0 0 465 mail.cpanelkund.se.",
            "_submission._tcp SRV 0 0 587 mail.cpanelkund.se.",
        ),
        found("srv", "mail.cpanelkund.se:465"),
    ),
    Domain(
        "srv587.se",
        (*mx("mx.srv587.se"), "_submission._tcp SRV 0 1 587 smtp.srv587.se."),
        found("srv", "smtp.srv587.se:587", confidence="medium"),
    ),
    Domain(
        "srv-utanfor.se",
        (*mx("mx.hotellet.net"), "_submissions._tcp SRV 0 1 465 smtp.hotellet.net."),
        found("srv", "smtp.hotellet.net:465", confirm=True),
    ),
    Domain(
        "srv-ordning.se",
        (
            *mx("mx.srv-ordning.se"),
            "_submissions._tcp SRV 20 100 465 sist.srv-ordning.se.",
            "_submissions._tcp SRV 10 10 465 nast.srv-ordning.se.",
            "_submissions._tcp SRV 10 90 465 forst.srv-ordning.se.",
        ),
        found("srv", "forst.srv-ordning.se:465"),
    ),
    Domain(
        "srv-glidning.se",
        (*mx("mx.srv-glidning.se"), "_submission._tcp SRV 0 1 465 smtp.srv-glidning.se."),
        found("srv", "smtp.srv-glidning.se:465", security="tls"),
    ),
    Domain(
        "srv-tabellen.se",
        (*mx("mx.okand.net"), "_submission._tcp SRV 0 1 587 smtp.fastmail.com."),
        found("srv", "smtp.fastmail.com:465", provider="fastmail", confirm=True),
    ),
    Domain(
        "srv-nej.se",
        (*mx("mx.srv-nej.se"), "_submission._tcp SRV 0 0 0 .", "_submissions._tcp SRV 0 0 0 .", f"smtp A {GOOD}"),
        found("probe", "smtp.srv-nej.se:465"),
    ),
    # the public database
    Domain("gammalkund.se", mx("mx.gammalkund.se"), found("ispdb", "mail.gammalkund.se:465", confidence="medium")),
    Domain("databasen.se", mx("mx.utlandet.net"), found("ispdb", "smtp.utlandet.net:465", confirm=True)),
    # settings of whoever runs the MX
    Domain("smahotell.se", mx("mx1.lillahotellet.net"), found("ispdb", "smtp.lillahotellet.net:465", confirm=True)),
    Domain(
        "storhotell.se",
        mx("mx1.kluster.storahotellet.net"),
        found("autoconfig", "smtp.storahotellet.net:465", confirm=True),
    ),
    Domain(
        "bashotell.se", mx("mx1.nod7.bashotellet.net"), found("autoconfig", "smtp.bashotellet.net:587", confirm=True)
    ),
    # filters in front
    Domain(
        "bakom-proofpoint.com",
        (
            *mx("mx1-eu1.ppe-hosted.com", "mx2-eu1.ppe-hosted.com"),
            '@ TXT "v=spf1 include:spf.protection.outlook.com include:eu.spf.ppe-hosted.com -all"',
            "autodiscover CNAME autodiscover.outlook.com.",
        ),
        found("mx", "smtp.office365.com:587", provider="microsoft365", confirm=True, confidence="high"),
    ),
    Domain(
        "bakom-mimecast.se",
        (
            *mx("eu-smtp-inbound-1.mimecast.com"),
            '@ TXT "v=spf1 include:_spf.google.com include:eu._netblocks.mimecast.com ~all"',
            'google._domainkey TXT "v=DKIM1; k=rsa; p=MIIB"',
        ),
        found("mx", "smtp.gmail.com:465", provider="google-workspace", confirm=True),
    ),
    Domain(
        "bakom-spf.se",
        (*mx("d12345.ess.barracudanetworks.com"), '@ TXT "v=spf1 include:spf.protection.outlook.com -all"'),
        found("mx", "smtp.office365.com:587", provider="microsoft365", confirm=True, confidence="medium"),
        # SPF alone is a weak sign
    ),
    Domain(
        "bakom-dkim.se",
        (
            *mx("mx.eu.iphmx.com"),
            "selector1._domainkey CNAME selector1-bakom-dkim-se._domainkey.bakomdkim.onmicrosoft.com.",
        ),
        found("mx", "smtp.office365.com:587", provider="microsoft365", confirm=True),
    ),
    Domain(
        "bakom-mailchannels.se",
        (*mx("mx1.mailchannels.net"), f"mail A {GOOD}", "_submissions._tcp SRV 0 0 465 mail.bakom-mailchannels.se."),
        found("srv", "mail.bakom-mailchannels.se:465"),
    ),
    Domain(
        "bakom-egen.se",
        (
            *mx("mx01.hornetsecurity.com"),
            '@ TXT "v=spf1 include:spf.protection.outlook.com -all"',
            f"autoconfig A {WEB}",
        ),
        found("autoconfig", "smtp.bakom-egen.se:465", confidence="high"),
        own_file("bakom-egen.se", Server("smtp.bakom-egen.se", 465, "SSL")),
        # the domain's own file says more than SPF
    ),
    Domain(
        "bakom-reserv.se",
        mx("mx1.mailspamprotection.com", "aspmx.l.google.com"),
        found("mx", "smtp.gmail.com:465", provider="google-workspace", confirm=True),
    ),
    Domain(
        "vidarebefordrad.se",
        mx("route1.mx.cloudflare.net", "route2.mx.cloudflare.net"),
        failed(68, "config.no-settings-found"),
    ),
    # found by probing
    Domain(
        "gissad.se",
        (*mx("mx.gissad.se"), f"mx A {EMPTY}", f"smtp A {GOOD}"),
        found("probe", "smtp.gissad.se:465", confidence="low"),
    ),
    # a web host whose customers have their own servers is named, after everything else
    Domain(
        "fransk-butik.fr",
        (*mx("mail.fransk-butik.fr"), f"mail A {WEB}", '@ TXT "v=spf1 include:spf.jabatus.fr ~all"'),
        failed(68, "config.no-settings-found") | {"named": "o2switch", "said": "most likely belongs to"},
    ),
    Domain(
        "fransk-verkstad.fr",
        (*mx("mail.fransk-verkstad.fr"), f"mail A {GOOD}", '@ TXT "v=spf1 +mx +include:spf.jabatus.fr ~all"'),
        found("probe", "mail.fransk-verkstad.fr:465", remark="most likely run by o2switch"),
    ),
    Domain(
        "hollands-bolag.nl",
        (*mx("mx1.mijn.host"), f"mail A {GOOD}"),
        found("probe", "mail.hollands-bolag.nl:465", remark="Ask mijn.host whether this server is right. https://"),
    ),
    Domain(
        "hollands-klubb.nl",
        (*mx("mx1.mijn.host"), f"mail A {WEB}"),
        failed(68, "config.no-settings-found") | {"named": "mijn-host"},
    ),
    # the SPF record alone may be that of a form on a web site
    Domain(
        "fransk-form.fr",
        (*mx("mx.okand-drift.test"), '@ TXT "v=spf1 include:spf.jabatus.fr ~all"'),
        failed(68, "config.no-settings-found") | {"named": None},
    ),
    Domain("gissad587.se", (*mx("mx.gissad587.se"), f"mail A {ONLY_587}"), found("probe", "mail.gissad587.se:587")),
    Domain(
        "gissad-mailout.se",
        (*mx("mx.gissad-mailout.se"), f"mailout A {GOOD}"),
        found("probe", "mailout.gissad-mailout.se:465"),
    ),
    Domain("gissad-mx.se", (*mx("post.annanstans.net"),), found("probe", "post.annanstans.net:465", confirm=True)),
    Domain(
        "gissad-polletter.se",
        (*mx("mx.gissad-polletter.se"), f"smtp A {TOKENS_ONLY}"),
        found("probe", "smtp.gissad-polletter.se:465", auth=["oauth2"]),
    ),
    Domain(
        "utan-mx.se",
        (f"@ A {GOOD}",),
        found("probe", "utan-mx.se:465"),
        # without MX the domain itself takes its mail (RFC 5321 section 5.1)
    ),
    Domain(
        "battre-senare.se",
        (*mx("mx.battre-senare.se"), f"smtp A {SLOW}", f"mail A {GOOD}"),
        found("probe", "smtp.battre-senare.se:465"),
        # the likelier name wins although the other one answers first
    ),
    # nothing to send from
    Domain("nullmx.se", ("@ MX 0 .", f"@ A {WEB}"), failed(68, "config.no-settings-found")),
    Domain("parkerad.se", (f"@ A {WEB}", f"* A {WEB}", '@ TXT "v=spf1 -all"'), failed(68, "config.no-settings-found")),
    Domain(
        "jokertecken.se",
        (f"* A {WEB}", f"@ A {WEB}", "* MX 10 mx.jokertecken.se."),
        failed(68, "config.no-settings-found"),
    ),
    Domain("tom.se", ('@ TXT "nothing here"',), failed(68, "config.no-settings-found")),
    Domain("finns-inte.se", (), failed(68, "dns.not-found")),
    Domain("rundgang.se", ("@ CNAME rundgang2.se.",), failed(75, "dns.temporary")),
    Domain("servfail.se", (), failed(75, "dns.temporary")),
    Domain(
        "fel-namn.se",
        (*mx("mx.fel-namn.se"), f"smtp A {WRONG_NAME}", f"mail A {EXPIRED}", f"send A {UNKNOWN_CA}"),
        failed(68, "config.no-settings-found"),
        # a server that cannot prove its name is no answer
    ),
    Domain(
        "ingen-inloggning.se",
        (*mx("mx.ingen-inloggning.se"), f"smtp A {NO_AUTH}", f"mail A {STRIPPED}", f"mailout A {CLEAR_LOGIN}"),
        failed(68, "config.no-settings-found"),
    ),
    # sources that disagree
    Domain(
        "oense.se",
        (*mx("aspmx.l.google.com"), f"autoconfig A {WEB}", f"mail A {GOOD}"),
        found("mx", "smtp.gmail.com:465", provider="google-workspace", confirm=True, confidence="medium"),
        own_file("oense.se", Server("mail.oense.se", 465, "SSL")),
        # a web host publishes settings for every domain it serves; the MX says where the mail lives
    ),
    Domain(
        "oense-dod.se",
        (*mx("mx.domeneshop.no"), f"autoconfig A {WEB}", f"mail A {GOOD}"),
        found("autoconfig", "mail.oense-dod.se:465", confidence="medium"),
        own_file("oense-dod.se", Server("mail.oense-dod.se", 465, "SSL")),
        # the probe settles it: the provider's server does not answer, the domain's own does
    ),
    Domain(
        "ense.se",
        (*mx("aspmx1.migadu.com"), f"autoconfig A {WEB}"),
        found("autoconfig", "smtp.migadu.com:465", provider="migadu", confirm=False, confidence="high"),
        own_file("ense.se", MIGADU),
        # what TLS binds to the domain confirms the host that the MX led to
    ),
)
# names that belong to nobody above
ELSEWHERE = (
    f"autoconfig.thunderbird.net. A {WEB}",
    f"v1.ispdb.net. A {WEB}",
    f"smtp.gmail.com. A {GOOD}",
    f"smtp.office365.com. A {GOOD}",
    f"smtp.migadu.com. A {GOOD}",
    f"smtp.hotellet.net. A {GOOD}",
    f"post.annanstans.net. A {GOOD}",
    f"autoconfig.kluster.storahotellet.net. A {WEB}",
    f"autoconfig.bashotellet.net. A {WEB}",
    "rundgang2.se. CNAME rundgang.se.",
    "autodiscover.outlook.com. A 185.20.10.3",
)
ELSEWHERE_PAGES = {
    "autoconfig.thunderbird.net": {
        "/v1.1/gammalkund.se": page(autoconfig(Server("mail.gammalkund.se", 465, "SSL"))),
        "/v1.1/databasen.se": page(autoconfig(Server("smtp.utlandet.net", 465, "SSL"))),
        "/v1.1/lillahotellet.net": page(autoconfig(Server("smtp.lillahotellet.net", 465, "SSL"))),
    },
    "autoconfig.kluster.storahotellet.net": {XML: page(autoconfig(Server("smtp.storahotellet.net", 465, "SSL")))},
    "autoconfig.bashotellet.net": {XML: page(autoconfig(Server("smtp.bashotellet.net", 587, "STARTTLS")))},
}
