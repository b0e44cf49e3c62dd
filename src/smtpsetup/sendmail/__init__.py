"""The `/usr/sbin/sendmail` program."""
