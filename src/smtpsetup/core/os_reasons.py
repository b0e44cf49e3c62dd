"""The reasons of system errors, translated: the texts of the system itself are English."""

from __future__ import annotations

import errno
import os
import socket

from smtpsetup.core.i18n import N_
from smtpsetup.core.i18n import gettext as _

TEXTS = (
    N_("No such file or directory"),
    N_("Permission denied"),
    N_("Operation not permitted"),
    N_("Is a directory"),
    N_("Not a directory"),
    N_("File exists"),
    N_("File name too long"),
    N_("Too many levels of symbolic links"),
    N_("Too many open files"),
    N_("File too large"),
    N_("No space left on device"),
    N_("Disk quota exceeded"),
    N_("Read-only file system"),
    N_("Input/output error"),
    N_("Text file busy"),
    N_("Exec format error"),
    N_("No such device or address"),
    N_("Cannot allocate memory"),
    N_("Connection refused"),
    N_("Connection reset by peer"),
    N_("Connection timed out"),
    N_("Network is unreachable"),
    N_("No route to host"),
    N_("Host is down"),
    N_("Address already in use"),
    N_("Address family not supported by protocol"),
    N_("Cannot assign requested address"),
    N_("Broken pipe"),
    # the resolver's
    N_("Name or service not known"),
    N_("Temporary failure in name resolution"),
    N_("no answer from the resolver"),
    N_("the name servers gave no answer"),
    N_("no such name"),
    # SQLite's
    N_("database or disk is full"),
    N_("disk I/O error"),
    N_("unable to open database file"),
    N_("attempt to write a readonly database"),
    N_("database is locked"),
    # smtpsetup's own, raised as OSError
    N_("a newer smtpsetup has made it"),
    N_("it is another file now"),
    N_("it is outside its directory now"),
    N_("it changed while it was read"),
    N_("it became shorter while it was sent"),
    N_("it became longer while it was sent"),
    N_("it belongs to another user"),
    N_("others can write there"),
    N_("others can write to it"),
    N_("it is a symbolic link"),
    N_("it is not a regular file"),
    N_("it has a second name (a hard link)"),
    N_("root has made it in another user's directory: give it to that user with `chown -R`"),
    N_("it is a named pipe, and no program writes to it"),
    N_("its owner cannot read this smtpsetup: run, as the owner, one that is installed for the whole machine"),
    # shlex's
    N_("No closing quotation"),
    N_("No escaped character"),
)
"""Translated texts; any other is shown as it is."""

_RESOLVER = {  # the texts differ from system to system
    socket.EAI_NONAME: "Name or service not known",
    socket.EAI_AGAIN: "Temporary failure in name resolution",
}


def translated_reason(error: Exception) -> str:
    """The reason of an error of the operating system, the resolver or SQLite, without its number."""
    text = str(getattr(error, "strerror", None) or error)
    number = getattr(error, "errno", None)
    if isinstance(error, socket.gaierror) and text not in TEXTS:
        text = _RESOLVER.get(number or 0, text)
    elif number and errno.errorcode.get(number) == text:  # net.dial stores the symbol, such as ECONNREFUSED
        text = os.strerror(number)
    return _(text)
