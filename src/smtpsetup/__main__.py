"""`python -m smtpsetup`."""

from smtpsetup.cli.main import main

main()
