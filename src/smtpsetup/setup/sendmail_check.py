"""The check of /usr/sbin/sendmail: whether it is smtpsetup's, and whether root can run it safely."""

from __future__ import annotations

import os
import shlex
import shutil
import stat
import sys
from typing import TYPE_CHECKING

from smtpsetup.core.i18n import gettext as _
from smtpsetup.setup.findings import ok, warning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from smtpsetup.setup.findings import Finding

_MOST_LINKS = 40
_LONGEST_LINE = 4096  # bytes
_MACHINE_WIDE = "/usr/local/bin/smtpsetup-sendmail"  # where `pipx install --global` puts it
_SENDMAIL = ("/usr/sbin/sendmail", "/usr/lib/sendmail")


def check_sendmail() -> Finding:
    """Whether cron's own mail goes through smtpsetup, and whether root can run it safely."""
    found = next((path for path in _SENDMAIL if os.path.exists(path)), None)
    if found is None:
        message = _("There is no {path}: cron throws the output of its jobs away.").format(path=_SENDMAIL[0])
        return warning("sendmail", message, *_hints_to_link(_SENDMAIL[0]))
    target = os.path.realpath(found)
    if os.path.basename(target) == "smtpsetup-sendmail":
        place = _unsafe_place(found)
        if place is None:
            return ok("sendmail", _("{path} is smtpsetup's.").format(path=found))
        message = _(
            "{path} belongs to smtpsetup, but users other than root can change {place}, and so what root runs."
        ).format(path=found, place=place)
        return warning("sendmail", message, *_hints_to_link(found))
    if not os.path.islink(found):
        return ok(
            "sendmail",
            _("{path} is another program: cron's own mail goes that way, not through smtpsetup.").format(path=found),
        )
    return ok(
        "sendmail",
        _("{path} is {target}: cron's own mail goes that way, not through smtpsetup.").format(
            path=found, target=target
        ),
    )


def _hints_to_link(path: str) -> tuple[str, ...]:
    """How to make `path` a link to smtpsetup-sendmail, after an installation that only root can change."""
    own = shutil.which("smtpsetup-sendmail") or os.path.join(os.path.dirname(sys.argv[0]), "smtpsetup-sendmail")
    hints: tuple[str, ...] = ()
    if _unsafe_place(own) is not None:
        own = _MACHINE_WIDE
        hints = (
            _(
                "Install smtpsetup for the whole machine. Run this in the directory that you installed it from: `sudo "
                "pipx install --global .`."
            ),
        )
    return (*hints, _("For cron's own mail, as root: `ln -sf {own} {path}`.").format(own=shlex.quote(own), path=path))


def _unsafe_place(program: str) -> str | None:
    """The first file or directory that a user other than root can change, and so what the program runs; None for none.

    It is on the path of the program, of its interpreter or of the modules.
    """
    modules = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    for path in (*_links(program), *_links(_interpreter_of(program)), *_links(sys.executable), modules):
        place = os.path.abspath(path)
        while True:
            try:
                info = os.lstat(place)
            except OSError:
                return place
            if info.st_uid != 0 or (info.st_mode & 0o022 and not stat.S_ISLNK(info.st_mode)):
                return place
            if place == os.path.dirname(place):
                break
            place = os.path.dirname(place)
    return None


def _links(path: str) -> Iterator[str]:
    """A path and, where it is a link, the path of each link that follows, up to the file."""
    for _step in range(_MOST_LINKS):
        yield path
        if not os.path.islink(path):
            yield os.path.realpath(path)
            return
        path = os.path.join(os.path.dirname(path), os.readlink(path))


def _interpreter_of(program: str) -> str:
    """The interpreter in a script's first line; the program itself where it is no script."""
    try:
        with open(program, "rb") as file:
            first = file.readline(_LONGEST_LINE)
    except OSError:
        return program
    words = first[2:].split() if first.startswith(b"#!") else []
    return os.fsdecode(words[0]) if words else program
