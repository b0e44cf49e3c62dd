"""The command line of sendmail."""

from __future__ import annotations

import re

# flags of other sendmails that have no effect here: d e h L m n O p G U I A E X
_FLAGS = "a:b:A:B:C:d:e:f:F:h:iL:mnN:o:O:p:r:R:tvV:X:GIUE"
_TEXTS = {"-b": "mode", "-a": "account", "-C": "config", "-f": "sender", "-r": "sender", "-F": "full_name"}
_SWITCHES = {"-t": "from_header", "-i": "ignores_dots", "-v": "is_verbose"}
_MODES = ("m", "s", "v", "p", "q", "i")
_IGNORES_DOTS = re.compile(r"\s*ignoredots(\s*=\s*(true|t|yes|y|1))?\s*", re.IGNORECASE)


class Options:
    """The options of a call. `mode` is the letter of -b; `q` is for -q."""

    def __init__(self, mode: str) -> None:
        self.mode = mode
        self.account: str | None = None
        self.config: str | None = None
        self.sender: str | None = None
        self.full_name = ""
        self.from_header = False
        self.ignores_dots = False
        self.is_verbose = False
        self.recipients: tuple[str, ...] = ()


def parse(arguments: list[str], name: str) -> Options:
    """The options of a command line; `name` is that of the program. Raises ValueError with a text for people."""
    import getopt

    from smtpsetup.core.i18n import gettext as _

    options = Options({"mailq": "p", "newaliases": "i"}.get(name, "m"))
    known, flushes = _without_queue_flags(arguments)
    try:
        flags, recipients = getopt.gnu_getopt(known, _FLAGS)
    except getopt.GetoptError as error:
        raise ValueError(
            _("{error}. Known are: -t -i -f -F -a -C -v -bs -bv -bp -q; others of sendmail's have no effect.").format(
                error=error
            )
        ) from error
    for flag, value in flags:
        if flag in _TEXTS:
            setattr(options, _TEXTS[flag], value)
        elif flag in _SWITCHES:
            setattr(options, _SWITCHES[flag], True)
        elif (flag, value) == ("-o", "i") or (flag == "-O" and _IGNORES_DOTS.fullmatch(value)):
            options.ignores_dots = True
        elif flag == "-I":
            options.mode = "i"
    if flushes and not recipients and not options.from_header:
        options.mode = "q"
    if options.mode not in _MODES:
        raise ValueError(
            _("-b{mode} is not possible: this sendmail sends mail, and is no server on the network.").format(
                mode=options.mode
            )
        )
    options.recipients = tuple(recipients)
    return options


def _without_queue_flags(arguments: list[str]) -> tuple[list[str], bool]:
    """The arguments without -q, and whether it was there. Its value is optional, which getopt does not support."""
    known: list[str] = []
    flushes = False
    for place, argument in enumerate(arguments):
        if argument == "--":
            return known + arguments[place:], flushes
        is_value = (
            bool(known) and len(known[-1]) == len("-f") and known[-1].startswith("-") and f"{known[-1][1]}:" in _FLAGS
        )
        if not is_value and argument.startswith("-q"):
            flushes = True
        else:
            known.append(argument)
    return known, flushes
