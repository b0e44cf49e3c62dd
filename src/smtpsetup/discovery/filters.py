"""Services that only pass mail on: an MX that names one says nothing about where the domain's mail is sent from.

Each is keyed by the end of its MX hosts' names, which its help pages tell customers to put into their DNS. A filter
passes mail on to the mailbox; a forwarder sends it to addresses at other domains.
"""

from __future__ import annotations

FILTERS = {
    "pphosted.com": "Proofpoint",
    "ppe-hosted.com": "Proofpoint Essentials",
    "gpphosted.com": "Proofpoint",
    "mimecast.com": "Mimecast",
    "mimecast.co.za": "Mimecast",
    "mimecast-offshore.com": "Mimecast",
    "mailchannels.net": "MailChannels",
    "mxrecord.io": "Cloudflare Email Security",
    "barracudanetworks.com": "Barracuda",
    "cudaops.com": "Barracuda",
    "iphmx.com": "Cisco Secure Email",
    "messagelabs.com": "Symantec Email Security",
    "messagelabs.net": "Symantec Email Security",
    "trendmicro.com": "Trend Micro",
    "trendmicro.eu": "Trend Micro",
    "sophos.com": "Sophos",
    "hornetsecurity.com": "Hornetsecurity",
    "antispameurope.com": "Hornetsecurity",
    "fireeyecloud.com": "Trellix",
    "mailcontrol.com": "Forcepoint",
    "antispamcloud.com": "SpamExperts",
    "spamexperts.com": "SpamExperts",
    "spamexperts.eu": "SpamExperts",
    "mailspamprotection.com": "SiteGround",
    "spamhero.com": "SpamHero",
    "mxthunder.com": "SpamHero",
    "mxguarddog.com": "MX Guarddog",
    "mtaroutes.com": "Mailprotector",
    "appriver.com": "AppRiver",
    "arsmtp.com": "AppRiver",
    "retarus.com": "Retarus",
    "staysecuregroup.com": "StaySecure",
    "staysecuregroup.net": "StaySecure",
    "mailanyone.net": "FuseMail",
    "libraesva.com": "Libraesva",
    "vadesecure.com": "Vade Secure",
}
FORWARDERS = {
    "mx.cloudflare.net": "Cloudflare Email Routing",
    "improvmx.com": "ImprovMX",
    "registrar-servers.com": "Namecheap",
}


def named(host: str, table: dict[str, str]) -> str | None:
    """The service that a host belongs to, by the longest matching ending, or None."""
    labels = host.split(".")
    return next((table[ending] for start in range(len(labels)) if (ending := ".".join(labels[start:])) in table), None)
