"""The console script, and `python -m smtpsetup`."""

import sys


def main() -> None:
    """Start the command line. Ctrl-C while it is being imported ends it without a traceback."""
    try:
        from smtpsetup.cli.main import main as run  # inside the try, see above

        run()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
