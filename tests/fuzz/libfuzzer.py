"""One target under libFuzzer, which ends the process: `python -m tests.fuzz.libfuzzer TARGET LIBFUZZER-ARGUMENT...`."""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["smtpsetup", "tomllib"]):
    from tests.fuzz import targets


def main() -> None:
    """Fuzz until the arguments of libFuzzer say otherwise, or until a finding."""
    name, *arguments = sys.argv[1:]
    atheris.Setup([sys.argv[0], *arguments], lambda data: targets.run(name, data))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
