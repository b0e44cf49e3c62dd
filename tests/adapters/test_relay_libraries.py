"""Mail of libraries and of monitoring programs arrives, through the relay, as they meant it."""

from __future__ import annotations

import json
import urllib.request
from typing import TYPE_CHECKING

import pytest

from tests.machine import needs
from tests.oauth_servers import USER, node_modules
from tests.relay_callers import BLIND, CLIENT, FILE, FOREIGN, SUBJECT, TEXT, TO, Lent, files_in, has_library, text_of
from tests.servers import accepts_connections, free_port, wait_for

if TYPE_CHECKING:
    from email.message import EmailMessage
    from pathlib import Path

pytestmark = pytest.mark.slow  # a process or more for each mail


def settings(lent: Lent, file: Path, *, sender: str, port: int | None = None) -> str:
    """What a script of a library is told, as its argument."""
    values = {
        "port": port or lent.relay.port,
        "user": CLIENT,
        "password": lent.password,
        "certificate": str(lent.certificate),
        "from": sender,
        "to": TO,
        "bcc": BLIND,
        "subject": SUBJECT,
        "text": TEXT,
        "file": str(file),
    }
    return json.dumps(values)


def is_whole(message: EmailMessage, data: bytes) -> None:
    """Check the subject, the text and the attachment."""
    assert message["Subject"] == SUBJECT
    assert text_of(message) == TEXT
    assert files_in(message) == {FILE: data}


PHPMAILER = """
require '/usr/share/php/libphp-phpmailer/autoload.php';
$s = json_decode($argv[1], true);
$mail = new PHPMailer\\PHPMailer\\PHPMailer(true);
$mail->isSMTP();
$mail->Host = '127.0.0.1';
$mail->Port = $s['port'];
$mail->SMTPAuth = true;
$mail->Username = $s['user'];
$mail->Password = $s['password'];
$mail->SMTPSecure = 'tls';
$mail->SMTPOptions = ['ssl' => ['cafile' => $s['certificate']]];
$mail->CharSet = 'UTF-8';
$mail->setFrom($s['from'], 'Åsas butik');
$mail->addAddress($s['to']);
$mail->addBCC($s['bcc']);
$mail->Subject = $s['subject'];
$mail->Body = $s['text'];
$mail->addAttachment($s['file']);
$mail->send();
"""


@pytest.mark.relay_caller("PHPMailer", "Host = '127.0.0.1', Port, Username, Password, SMTPSecure = 'tls'")
def test_phpmailer_sends_over_starttls(lent_with_tls: Lent) -> None:
    lent = lent_with_tls
    has_library(
        "php", "-r", "require '/usr/share/php/libphp-phpmailer/autoload.php';", packages="php-cli libphp-phpmailer"
    )
    file, data = lent.attached()
    lent.call("php", "-d", "display_errors=stderr", "-r", PHPMAILER, settings(lent, file, sender=FOREIGN))
    message = lent.message(TO, BLIND, reply_to=FOREIGN)
    assert message["From"].addresses[0].display_name == "Åsas butik"
    is_whole(message, data)


SYMFONY = """
require '/usr/share/php/Symfony/Component/Mailer/autoload.php';
use Symfony\\Component\\Mailer\\{Mailer, Transport};
use Symfony\\Component\\Mime\\{Address, Email};
$s = json_decode($argv[1], true);
$mailer = new Mailer(Transport::fromDsn("smtp://{$s['user']}:{$s['password']}@127.0.0.1:{$s['port']}"));
$mailer->send((new Email())->from(new Address($s['from'], 'Åsas butik'))->to($s['to'])->bcc($s['bcc'])
  ->subject($s['subject'])->text($s['text'])->attachFromPath($s['file']));
"""


@pytest.mark.relay_caller("Symfony Mailer", "MAILER_DSN=smtp://CLIENT:PASSWORD@127.0.0.1:PORT")
def test_symfony_mailer_sends(lent: Lent) -> None:
    has_library(
        "php",
        "-r",
        "require '/usr/share/php/Symfony/Component/Mailer/autoload.php';",
        packages="php-cli php-symfony-mailer",
    )
    file, data = lent.attached()
    lent.call("php", "-d", "display_errors=stderr", "-r", SYMFONY, settings(lent, file, sender=FOREIGN))
    message = lent.message(TO, BLIND, reply_to=FOREIGN)
    assert message["From"].addresses[0].display_name == "Åsas butik"
    is_whole(message, data)


RUBY = """
require "json"
require "mail"
s = JSON.parse(ARGV[0])
Mail.defaults do
  delivery_method :smtp, address: "127.0.0.1", port: s["port"], user_name: s["user"], password: s["password"],
    authentication: :login
end
Mail.deliver do
  from "Åsas butik <#{s["from"]}>"
  to s["to"]
  bcc s["bcc"]
  subject s["subject"]
  body s["text"]
  add_file s["file"]
end
"""


@pytest.mark.relay_caller(
    "Ruby's Mail", "delivery_method :smtp, address: '127.0.0.1', port: PORT, user_name:, password:"
)
def test_ruby_mail_sends_after_auth_login(lent: Lent) -> None:
    has_library("ruby", "-W0", "-rmail", "-e", "", packages="ruby-mail")
    file, data = lent.attached()
    lent.call("ruby", "-W0", "-e", RUBY, settings(lent, file, sender=FOREIGN))
    message = lent.message(TO, BLIND, reply_to=FOREIGN)
    assert message["From"].addresses[0].display_name == "Åsas butik"
    is_whole(message, data)


DJANGO = """
import json, sys
from django.conf import settings
from django.core.mail import EmailMessage
s = json.loads(sys.argv[1])
settings.configure(EMAIL_HOST="127.0.0.1", EMAIL_PORT=s["port"], EMAIL_HOST_USER=s["user"],
    EMAIL_HOST_PASSWORD=s["password"], EMAIL_USE_TLS=True)
mail = EmailMessage(s["subject"], s["text"], "Åsas butik <%s>" % s["from"], [s["to"]], bcc=[s["bcc"]])
mail.attach_file(s["file"])
mail.send()
"""


@pytest.mark.relay_caller(
    "Django", "EMAIL_HOST, EMAIL_PORT, EMAIL_HOST_USER, EMAIL_HOST_PASSWORD, EMAIL_USE_TLS = True"
)
def test_django_sends_over_starttls(lent_with_tls: Lent) -> None:
    lent = lent_with_tls
    python = "/usr/bin/python3"
    has_library(python, "-c", "import django", packages="python3-django")
    file, data = lent.attached()
    lent.call(python, "-c", DJANGO, settings(lent, file, sender=FOREIGN), SSL_CERT_FILE=str(lent.certificate))
    message = lent.message(TO, BLIND, reply_to=FOREIGN)
    assert message["From"].addresses[0].display_name == "Åsas butik"
    is_whole(message, data)


NODEMAILER = """
const s = JSON.parse(process.argv[1]);
require("nodemailer").createTransport({
  host: "127.0.0.1", port: s.port, secure: true, auth: { user: s.user, pass: s.password },
  tls: { ca: require("fs").readFileSync(s.certificate) },
}).sendMail({ from: s.from, to: s.to, bcc: s.bcc, subject: s.subject, text: s.text, attachments: [{ path: s.file }] });
"""


@pytest.mark.relay_caller(
    "Nodemailer", "host: '127.0.0.1', port: TLS-PORT, secure: true, auth: {user, pass}, tls: {ca}"
)
def test_nodemailer_sends_over_tls_from_the_start(lent_with_tls: Lent) -> None:
    lent = lent_with_tls
    file, data = lent.attached()
    told = settings(lent, file, sender=USER, port=lent.relay.tls_port)
    lent.call("node", "-e", NODEMAILER, told, NODE_PATH=str(node_modules()))
    is_whole(lent.message(TO, BLIND), data)


ALERTMANAGER = """
route: {{receiver: mail, group_wait: 0s}}
receivers:
- name: mail
  email_configs:
  - to: {to}
    from: {sender}
    smarthost: 127.0.0.1:{port}
    auth_username: {client}
    auth_password: {password}
    require_tls: true
    tls_config: {{ca_file: {certificate}}}
    headers: {{Subject: "{subject}"}}
    html: ""
    text: "{{{{ range .Alerts }}}}{{{{ .Annotations.summary }}}}{{{{ end }}}}"
"""


@pytest.mark.relay_caller(
    "Alertmanager", "smarthost: 127.0.0.1:PORT, auth_username, auth_password, tls_config: ca_file"
)
def test_alertmanager_mails_an_alert_over_starttls(lent_with_tls: Lent) -> None:
    lent = lent_with_tls
    needs("prometheus-alertmanager", packages="prometheus-alertmanager")
    config = lent.home.file(
        "alertmanager.yml",
        ALERTMANAGER.format(
            to=f"{TO}, {BLIND}",
            sender=FOREIGN,
            port=lent.relay.port,
            client=CLIENT,
            password=lent.password,
            certificate=lent.certificate,
            subject=SUBJECT,
        ),
    )
    port = free_port()
    places = f"--config.file={config} --storage.path={lent.home.path / 'alerts'} --web.listen-address=127.0.0.1:{port}"
    alert = {"labels": {"alertname": "disk"}, "annotations": {"summary": "Disken på åäö är full"}}
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/api/v2/alerts", json.dumps([alert]).encode(), {"Content-Type": "application/json"}
    )
    with lent.running("prometheus-alertmanager", *places.split(), "--cluster.listen-address="):
        wait_for(lambda: accepts_connections(port))
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30).close()
        message = lent.message(TO, BLIND, reply_to=FOREIGN)
    assert message["Subject"] == SUBJECT
    assert text_of(message) == "Disken på åäö är full\n"


MONIT = """
set daemon 1
set pidfile {home}/monit.pid
set idfile {home}/monit.id
set statefile {home}/monit.state
set mailserver 127.0.0.1 port {port} username "{client}" password "{password}"
set mail-format {{
  from: Övervakningen <{sender}>
  subject: $SERVICE är borta åäö
  message: $SERVICE finns inte längre €
}}
set alert {to} only on {{ nonexist }}
check file säkerhetskopia with path {home}/nothing
"""


@pytest.mark.relay_caller("monit", 'set mailserver 127.0.0.1 port PORT username "CLIENT" password "PASSWORD"')
def test_monit_mails_an_alert(lent: Lent) -> None:
    needs("monit", packages="monit")
    config = lent.home.file(
        "monitrc",
        MONIT.format(
            home=lent.home.path,
            port=lent.relay.port,
            client=CLIENT,
            password=lent.password,
            sender=FOREIGN,
            to=TO,
        ),
    )
    with lent.running("monit", "-I", "-c", str(config)):
        message = lent.message(TO, reply_to=FOREIGN)
    assert message["From"].addresses[0].display_name == "Övervakningen"
    assert message["Subject"] == "säkerhetskopia är borta åäö"
    assert text_of(message) == "säkerhetskopia finns inte längre €\n"
