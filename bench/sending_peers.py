"""The programs that bench/sending.py compares with, and the mails that both sides send."""

from __future__ import annotations

from email.message import EmailMessage
from email.utils import formatdate, make_msgid

from postfix import ADDRESS

TO = "kund@example.test"
SCRIPT = """
import smtplib, ssl, sys
from email.message import EmailMessage

port, ca, user, password_file, to = sys.argv[1:]
if password_file == "keyring":
    import subprocess

    lookup = ["secret-tool", "lookup", "service", "smtpsetup", "username", user]
    password = subprocess.run(lookup, capture_output=True, text=True, check=True).stdout
else:
    with open(password_file) as file:
        password = file.readline().rstrip("\\n")
message = EmailMessage()
message["From"], message["To"], message["Subject"] = user, to, "Backup"
message.set_content(sys.stdin.read())
with smtplib.SMTP_SSL("localhost", int(port), context=ssl.create_default_context(cafile=ca)) as server:
    server.login(user, password)
    server.send_message(message)
"""
SPOOLING = SCRIPT.replace(
    "with smtplib.SMTP_SSL(",
    """import os, tempfile

with tempfile.TemporaryDirectory(dir=os.environ["HOME"]) as spool:
    with open(os.path.join(spool, "message"), "wb") as kept:
        kept.write(message.as_bytes())
        kept.flush()
        os.fsync(kept.fileno())
    directory = os.open(spool, os.O_RDONLY)
    os.fsync(directory)
with smtplib.SMTP_SSL(""",
)
LOOP = """
import smtplib, ssl, sys

port, ca, user, password_file, mails = sys.argv[1:]
with open(password_file) as file:
    password = file.readline().rstrip("\\n")
with open(mails, "rb") as file:
    messages = file.read().split(b"\\0")
with smtplib.SMTP_SSL("localhost", int(port), context=ssl.create_default_context(cafile=ca)) as server:
    server.login(user, password)
    for number, message in enumerate(messages):
        server.sendmail(user, [f"kund{number}@example.test"], message)
"""
PEAK = """
import resource, subprocess, sys

subprocess.run(sys.argv[1:], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""
CRON_MAIL = f"""From: root (Cron Daemon)
To: {TO}
Subject: Cron <root@vm> /usr/local/bin/backup
MIME-Version: 1.0
Content-Type: text/plain; charset=US-ASCII
Content-Transfer-Encoding: 8bit
X-Cron-Env: <SHELL=/bin/sh>
X-Cron-Env: <HOME=/root>
X-Cron-Env: <PATH=/usr/bin:/bin>
X-Cron-Env: <LOGNAME=root>

Backup done
"""


def ready_made(to: str, text: str, attachment: bytes = b"") -> bytes:
    """A complete message, with LF line ends."""
    message = EmailMessage()
    message["From"], message["To"], message["Subject"], message["Date"] = ADDRESS, to, "Faktura", formatdate()
    message["Message-ID"] = make_msgid(domain="example.test")
    message.set_content(text, cte="quoted-printable")
    if attachment:
        message.add_attachment(attachment, maintype="application", subtype="octet-stream", filename="faktura.bin")
    return message.as_bytes()
