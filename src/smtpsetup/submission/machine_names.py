"""The fully qualified names of this machine, from its own files: a look-up in the DNS could take seconds."""

from __future__ import annotations

from smtpsetup.state import input_file

_HOSTS = "/etc/hosts"  # hosts(5)
_RESOLVER = "/etc/resolv.conf"  # resolv.conf(5)
_FILE_LIMIT = 1_000_000  # bytes


def is_name_of_machine(domain: str, host: str) -> bool:
    """Whether a domain in lower case is a fully qualified name of the machine whose `uname -n` is `host`.

    It begins with the host's name, and goes on as an entry for this name in /etc/hosts does, or as a domain that
    /etc/resolv.conf searches.
    """
    short = host.lower().partition(".")[0]
    first, _dot, rest = domain.partition(".")
    if first != short or not short:
        return False
    searched = (words[1:] for words in _lines(_RESOLVER) if words[0] in ("search", "domain"))
    entries = (words[1:] for words in _lines(_HOSTS))
    return any(rest in names for names in searched) or any(
        domain in names and (short in names or host.lower() in names) for names in entries
    )


def _lines(path: str) -> list[list[str]]:
    """The words of each line, in lower case; none of a file that cannot be read."""
    try:
        text = input_file.read(path, _FILE_LIMIT).decode("utf-8", "replace").lower()
    except OSError:
        return []
    lines = (line.partition("#")[0].split() for line in text.splitlines())
    return [words for words in lines if words]
