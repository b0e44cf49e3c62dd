"""The floor of bench/relay.py: aiosmtpd that takes every login and commits each mail to SQLite.

`python bench/relay_floor.py PORT DATABASE`.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import sys
import warnings
from typing import TYPE_CHECKING

from aiosmtpd.smtp import SMTP, AuthResult

if TYPE_CHECKING:
    from aiosmtpd.smtp import Envelope, Session


class Handler:
    """Commits each mail."""

    def __init__(self, path: str) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute("CREATE TABLE mail (sender TEXT, recipients TEXT, content BLOB)")

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802  aiosmtpd's name
        """Insert one mail in a transaction of its own."""
        self._db.execute("BEGIN IMMEDIATE")
        row = (envelope.mail_from, ",".join(envelope.rcpt_tos), envelope.content)
        self._db.execute("INSERT INTO mail VALUES (?, ?, ?)", row)
        self._db.execute("COMMIT")
        return "250 ok"


async def main(port: int, path: str) -> None:
    """Serve until the end of the process."""
    handler = Handler(path)
    loop = asyncio.get_running_loop()

    def factory() -> SMTP:
        return SMTP(
            handler,
            auth_require_tls=False,
            authenticator=lambda *_rest: AuthResult(success=True),
            loop=loop,
            hostname="x",
        )

    server = await loop.create_server(factory, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    logging.getLogger("mail.log").setLevel(logging.CRITICAL)
    asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
