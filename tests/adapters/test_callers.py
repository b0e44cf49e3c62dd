"""Mail of programs that call sendmail on a Debian machine arrives in Postfix's mailboxes as they meant it."""

from __future__ import annotations

import email
import email.policy
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.conftest import Home
from tests.machine import Machine, needs
from tests.oauth_servers import node_modules
from tests.postfix import POSTFIX_PASSWORD, Postfix
from tests.sendmail import PROGRAM, config_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from email.message import EmailMessage

pytestmark = pytest.mark.slow  # a process or more for each mail

OWN = "info@example.test"
ALIASES = '[aliases]\nroot = "asa@example.test"\n'


def at_postfix(home: Home, postfix: Postfix, *, rows: str = "") -> str:
    """The text of a configuration with an account at Postfix and an alias for root."""
    password = home.file("password", POSTFIX_PASSWORD + "\n")
    return config_text(postfix.tls_port, postfix.ca_file, password, top=ALIASES, rows=rows, address=OWN)


def configured(home: Home, postfix: Postfix, *, rows: str = "") -> None:
    home.file(str(home.config.relative_to(home.path)), at_postfix(home, postfix, rows=rows))


def call(home: Home, *command: str, stdin: str = "", **env: str) -> str:
    """The output of a caller, which must succeed."""
    done = subprocess.run(
        [*home.prefix, *command],
        env={**home.env, **env},
        cwd=home.path,
        input=stdin.encode(),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert b"Traceback" not in done.stderr
    return done.stdout.decode()


def delivered(postfix: Postfix, user: str) -> EmailMessage:
    """The one mail in a user's mailbox."""
    (raw,) = postfix.mails(user)
    header = raw.partition(b"\n\n")[0]
    assert header.isascii()
    assert b"\nbcc:" not in header.lower()
    message = email.message_from_bytes(raw, policy=email.policy.default)
    assert message.defects == []
    assert {len(message.get_all(name, [])) for name in ("From", "Date", "Message-ID", "Subject", "To")} == {1}
    return message


def text_of(message: EmailMessage) -> str:
    return str(message.get_content()).replace("\r\n", "\n")


CRONTAB = """
SHELL=/bin/sh
PATH=/usr/sbin:/usr/bin:/sbin:/bin
LANG=C.UTF-8
HOME={home}
MAILTO={mailto}
* * * * * root {job}
"""


@pytest.mark.slow
@pytest.mark.timeout(100)
@pytest.mark.caller("cron", "-FCronDaemon -i -B8BITMIME -oem RECIPIENT")
def test_the_output_of_cron_jobs_is_mailed(postfix: Postfix, home: Home, machine: Machine) -> None:
    needs("cron", packages="cron")
    machine.file("smtpsetup/config.toml", at_postfix(home, postfix))
    machine.file(
        "pam.d/cron", "account required pam_permit.so\nsession required pam_permit.so\nauth required pam_permit.so\n"
    )
    machine.file(
        "crontab",
        CRONTAB.format(
            home=home.path, mailto="root", job="printf 'Säkerhetskopian är klar\\n.\\nslut\\n'; echo fel >&2"
        ),
    )
    machine.file("cron.d/second", CRONTAB.format(home=home.path, mailto="bo@example.test", job="echo andra"))
    with (machine.directory / "log").open("wb") as log:
        cron = subprocess.Popen(
            [*machine.prefix(), "cron", "-f", "-L", "15"],
            env=home.env,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        # cron starts a job when the minute does, so that the first mail may be a minute away
        assert postfix.mails("asa", seconds=80)
        assert postfix.mails("bo")
    finally:
        cron.kill()  # unshare's --kill-child ends every process on the machine
        cron.wait(20)
    message = delivered(postfix, "asa")
    assert str(message["From"]) == f"Cron Daemon <{OWN}>"
    assert message["Subject"].startswith("Cron <root@")
    assert "printf" in message["Subject"]
    assert text_of(message) == "Säkerhetskopian är klar\n.\nslut\nfel\n"
    assert text_of(delivered(postfix, "bo")) == "andra\n"


AUTHOR = {
    f"GIT_{role}_{what}": value
    for role in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "Åsa Öberg"), ("EMAIL", "asa@example.net"))
}


def git(home: Home, *arguments: str) -> None:
    call(home, "git", *arguments, **AUTHOR)


def patch_of(home: Home) -> str:
    """The path of a patch with umlauts in author, subject and text."""
    needs("git", packages="git git-email")
    where = subprocess.run(["git", "--exec-path"], capture_output=True, check=True, text=True).stdout.strip()
    needs(f"{where}/git-send-email", packages="git-email")
    home.file("repository/räkning.txt", "åäö €\n.\nFrom me\n")
    for arguments in (
        ("init", "-q"),
        ("add", "."),
        ("commit", "-q", "-m", "Räkningen är åäö"),
        ("format-patch", "-q", "--root", "-o", ".."),
    ):
        git(home, "-C", "repository", *arguments)
    (patch,) = home.path.glob("*.patch")
    return str(patch)


def git_send_email(home: Home, patch: str, *arguments: str) -> None:
    common = (
        "--from=Åsa Öberg <asa@example.net>",
        f"--smtp-server={PROGRAM}",
        "--confirm=never",
        "--suppress-cc=all",
        "--quiet",
    )
    git(home, "send-email", *common, *arguments, patch)


@pytest.mark.slow
@pytest.mark.caller("git send-email", "-i RECIPIENT...")
def test_git_sends_a_patch_that_can_be_applied(postfix: Postfix, home: Home) -> None:
    configured(home, postfix)
    git_send_email(home, patch_of(home), "--to=asa@example.test", "--bcc=bo@example.test")
    message = delivered(postfix, "asa")
    assert str(message["From"]) == f"Åsa Öberg <{OWN}>"
    assert str(message["Reply-To"]) == "Åsa Öberg <asa@example.net>"
    assert message["Subject"] == "[PATCH] Räkningen är åäö"
    assert delivered(postfix, "bo")["Message-ID"] == message["Message-ID"]
    home.file("mail", postfix.mails("asa")[0])
    git(home, "init", "-q", "again")
    git(home, "-C", "again", "am", "-q", "../mail")
    assert (home.path / "again" / "räkning.txt").read_text(encoding="utf-8") == "åäö €\n.\nFrom me\n"


@pytest.mark.slow
def test_git_reports_a_refused_recipient(postfix: Postfix, home: Home) -> None:
    configured(home, postfix)
    patch = patch_of(home)
    with pytest.raises(AssertionError, match="nobody@example"):
        git_send_email(home, patch, "--to=nobody@example.test")


def php(home: Home, code: str, flags: str = "-t -i") -> str:
    needs("php", packages="php-cli")
    return call(home, "php", "-n", "-d", f"sendmail_path={PROGRAM} {flags}", "-d", "display_errors=stderr", "-r", code)


@pytest.mark.caller("PHP's mail()", "-t -i")
def test_php_mail_arrives_with_its_html_and_its_blind_copy(postfix: Postfix, home: Home) -> None:
    configured(home, postfix)
    kind = "'MIME-Version' => '1.0', 'Content-Type' => 'text/html; charset=utf-8'"
    headers = f"['From' => 'Webbplatsen <webb@example.net>', 'Bcc' => 'bo@example.test', {kind}]"
    subject = "'=?UTF-8?B?'.base64_encode('Räkning åäö').'?='"
    php(
        home,
        f"exit(mail('Asa <asa@example.test>', {subject}, str_repeat('<p>åäö €</p>', 500), {headers}) ? 0 : 1);",
    )
    message = delivered(postfix, "asa")
    assert message["Subject"] == "Räkning åäö"
    assert (str(message["From"]), str(message["Reply-To"])) == (
        f"Webbplatsen <{OWN}>",
        "Webbplatsen <webb@example.net>",
    )
    assert message.get_content_type() == "text/html"
    assert text_of(message).strip() == "<p>åäö €</p>" * 500
    assert delivered(postfix, "bo")["Message-ID"] == message["Message-ID"]


@pytest.mark.caller("PHP's mail() with a fifth parameter", "-t -i -fSENDER")
def test_php_mail_of_an_old_script_arrives_too(postfix: Postfix, home: Home) -> None:
    configured(home, postfix)
    text, headers = r'"Rad 1\r\nRad 2 åäö\n.\n"', r'"From: www-data\r\nTo: bo@example.test"'
    php(home, f"exit(mail('root', 'Räkning åäö', {text}, {headers}, '-fwww-data@localhost') ? 0 : 1);")
    message = delivered(postfix, "asa")
    assert (message["Subject"], str(message["From"])) == ("Räkning åäö", OWN)
    assert text_of(message).rstrip("\n") == "Rad 1\nRad 2 åäö\n."
    assert delivered(postfix, "bo")["Message-ID"] == message["Message-ID"]


def test_php_mail_is_false_when_the_mail_is_refused(postfix: Postfix, home: Home) -> None:
    configured(home, postfix)
    php(home, "exit(mail('nobody@example.test', 'x', 'x') ? 1 : 0);")


def s_nail(home: Home, *arguments: str, stdin: str) -> None:
    needs("s-nail", packages="s-nail")
    settings = ("v15-compat", f"mta={PROGRAM}", "sendwait", "ttycharset=utf-8", f"DEAD={home.path / 'dead.letter'}")
    options = [part for setting in settings for part in ("-S", setting)]
    # run by root, s-nail passes on root's own HOME
    env = {"SMTPSETUP_CONFIG": str(home.config), "SMTPSETUP_STATE_DIR": str(home.path / "state")}
    call(home, "s-nail", "-:/", *options, *arguments, stdin=stdin, **env)


@pytest.mark.caller("mail of S-nail", "-i -- RECIPIENT...")
def test_mail_sends_with_copies_and_a_file(postfix: Postfix, home: Home) -> None:
    configured(home, postfix)
    data = os.urandom(100_000)
    file = home.file("bilaga.bin", data)
    options = ("-s", "Räkning åäö", "-b", "bo@example.test", "-c", OWN, "-a", str(file))
    s_nail(home, *options, "asa@example.test", stdin="Hej åäö\n.\nslut\n")
    message = delivered(postfix, "asa")
    assert message["Subject"] == "Räkning åäö"
    body = message.get_body(("plain",))
    assert body
    assert text_of(body) == "Hej åäö\n.\nslut\n"  # type: ignore[arg-type]  # a part is read as a message is
    assert [part.get_content() for part in message.iter_attachments()] == [data]
    assert {delivered(postfix, user)["Message-ID"] for user in ("info", "bo")} == {message["Message-ID"]}


def test_mail_to_root_is_sent_to_its_alias(postfix: Postfix, home: Home) -> None:
    configured(home, postfix)
    s_nail(home, "-s", "Disken är full", "root", stdin="95 %\n")
    assert delivered(postfix, "asa")["Subject"] == "Disken är full"


@pytest.mark.caller("a shell script", "-t")
def test_a_script_calls_usr_sbin_sendmail(postfix: Postfix, home: Home, machine: Machine) -> None:
    machine.file("smtpsetup/config.toml", at_postfix(home, postfix))
    command: Sequence[str] = (
        "sh",
        "-c",
        "printf 'To: root\\nSubject: x\\n\\ny\\n' | /usr/sbin/sendmail -t && /usr/sbin/sendmail -bp",
    )
    call(Home(home.path, home.env, prefix=machine.prefix()), *command)
    assert text_of(delivered(postfix, "asa")) == "y\n"


ATTACHED = "Räkning åäö.txt"


def with_attachment(postfix: Postfix, name: str | None = ATTACHED) -> EmailMessage:
    """The mail in Åsa's mailbox, whose one attachment has this name and the text of `attached`."""
    message = delivered(postfix, "asa")
    (file,) = message.iter_attachments()
    assert file.get_filename() == name
    content = file.get_payload(decode=True)
    assert isinstance(content, bytes)
    # mutt converts a text to the smallest character set that holds it
    assert content.decode(file.get_content_charset("utf-8")).split() == ["innehåll"]
    return message


def attached(home: Home) -> str:
    return str(home.file(ATTACHED, "innehåll\n"))


def on_machine(home: Home, postfix: Postfix, machine: Machine) -> Home:
    """A home on a machine whose /usr/sbin/sendmail is ours, in a locale with UTF-8."""
    machine.file("smtpsetup/config.toml", at_postfix(home, postfix))
    return Home(home.path, {**home.env, "LC_ALL": "C.UTF-8"}, prefix=machine.prefix())


@pytest.mark.slow
@pytest.mark.caller("mail of bsd-mailx", "-i RECIPIENT...")
def test_bsd_mailx_sends_html_with_a_raw_name(postfix: Postfix, home: Home, machine: Machine) -> None:
    needs("bsd-mailx", packages="bsd-mailx")
    here = on_machine(home, postfix, machine)
    fields = ("-a", "Content-Type: text/html; charset=utf-8; name=Räkning.html", "-a", "X-Kund: Åsa")
    call(here, "bsd-mailx", "-s", "Räkning", *fields, "asa@example.test", stdin="<p>Hej åäö</p>\n")
    message = delivered(postfix, "asa")
    assert (message["Subject"], message["X-Kund"]) == ("Räkning", "Åsa")
    assert (message.get_content_type(), message["Content-Type"].params["name"]) == ("text/html", "Räkning.html")
    assert text_of(message) == "<p>Hej åäö</p>\n"


@pytest.mark.slow
@pytest.mark.caller("mail of GNU Mailutils", "-oi -t")
def test_gnu_mail_attaches_a_file(postfix: Postfix, home: Home, machine: Machine) -> None:
    needs("mail.mailutils", packages="mailutils")
    here = on_machine(home, postfix, machine)
    call(here, "mail.mailutils", "-s", "Räkning", "-A", attached(home), "asa@example.test", stdin="Hej åäö\n")
    assert with_attachment(postfix)["Subject"] == "Räkning"


@pytest.mark.slow
@pytest.mark.caller("mutt", "-oem -oi -- RECIPIENT...")
def test_mutt_attaches_a_file(postfix: Postfix, home: Home, machine: Machine) -> None:
    needs("mutt", packages="mutt")
    here = on_machine(home, postfix, machine)
    call(here, "mutt", "-s", "Räkning", "-a", attached(home), "--", "asa@example.test", stdin="Hej åäö\n")
    assert with_attachment(postfix)["Subject"] == "Räkning"


MIME_LITE = """
use MIME::Lite;
my $mail = MIME::Lite->new(From => 'x@example.net', To => 'asa@example.test', Subject => 'Rakning',
  Type => 'multipart/mixed');
$mail->attach(Type => 'TEXT', Data => "Hej\n");
$mail->attach(Type => 'text/plain; charset=utf-8', Path => $ARGV[0], Filename => $ARGV[1], Disposition => 'attachment');
$mail->send;
"""


@pytest.mark.slow
@pytest.mark.caller("Perl's MIME::Lite", "-t -oi -oem")
def test_mime_lite_attaches_a_file(postfix: Postfix, home: Home, machine: Machine) -> None:
    here = on_machine(home, postfix, machine)
    call(here, "perl", "-e", MIME_LITE, attached(home), ATTACHED)
    assert with_attachment(postfix)["Subject"] == "Rakning"


RUBY = """
require "mail"
Mail.defaults { delivery_method :sendmail }
Mail.deliver do
  from "x@example.net"
  to "asa@example.test"
  subject "Räkning"
  body "Hej"
  add_file ARGV[0]
end
"""


@pytest.mark.slow
@pytest.mark.caller("Ruby's Mail", "-i -f SENDER -- RECIPIENT...")
def test_ruby_mail_attaches_a_file(postfix: Postfix, home: Home, machine: Machine) -> None:
    needs("ruby", packages="ruby-mail")
    here = on_machine(home, postfix, machine)
    call(here, "ruby", "-W0", "-e", RUBY, attached(home))
    assert with_attachment(postfix)["Subject"] == "Räkning"


NODEMAILER = """
const nodemailer = require("nodemailer");
const transport = nodemailer.createTransport({ sendmail: true, newline: "unix", path: "/usr/sbin/sendmail" });
transport.sendMail({ from: "x@example.net", to: "asa@example.test", subject: "Räkning", text: "Hej",
  attachments: [{ path: process.argv[1] }] });
"""


@pytest.mark.slow
@pytest.mark.caller("Nodemailer", "-i -f SENDER RECIPIENT...")
def test_nodemailer_attaches_a_file(postfix: Postfix, home: Home, machine: Machine) -> None:
    here = on_machine(home, postfix, machine)
    node = Home(home.path, {**here.env, "NODE_PATH": str(node_modules())}, prefix=here.prefix)
    call(node, "node", "-e", NODEMAILER, attached(home))
    assert with_attachment(postfix)["Subject"] == "Räkning"


@pytest.mark.slow
@pytest.mark.caller("nmh", "-bs")
def test_nmh_sends_by_smtp_on_standard_input_and_output(postfix: Postfix, home: Home, machine: Machine) -> None:
    needs("/usr/bin/mh/send", packages="nmh")
    machine.file("smtpsetup/config.toml", at_postfix(home, postfix))
    machine.file("nmh/mts.conf", "mts: sendmail/smtp\nlocalname: example.test\n")
    home.file(".mh_profile", "Path: Mail\n")
    home.file(
        "Mail/draft", f"From: {OWN}\nTo: asa@example.test\nBcc: bo@example.test\nSubject: hej\n--------\n.\ntext\n"
    )
    on_machine = Home(home.path, home.env, prefix=machine.prefix())
    call(on_machine, "/usr/bin/mh/send", str(home.path / "Mail" / "draft"))
    message = delivered(postfix, "asa")
    assert (message["Subject"], text_of(message)) == ("hej", ".\ntext\n")
