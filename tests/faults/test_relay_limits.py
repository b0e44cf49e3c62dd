"""Open files: a relay that the system gives few of them, and those of a mail that a client breaks off."""

from __future__ import annotations

import contextlib
import gc
import socket
import time
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING

from smtpsetup.message.spool import Spool
from tests.recording import plain_account
from tests.relay import add_client, is_relay, running_relay
from tests.servers import wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Home

FILES = 48
SECONDS = 3.0


def test_more_connections_than_open_files_neither_fill_the_log_nor_end_the_relay(home: Home) -> None:
    plain_account(home, 1)
    password = add_client(home)
    limited = replace(home.unmeasured, prefix=("prlimit", f"--nofile={FILES}:{FILES}"))
    with running_relay(limited) as relay:
        with contextlib.ExitStack() as stack:
            for _number in range(FILES * 2):
                stack.enter_context(socket.create_connection(("127.0.0.1", relay.port), timeout=5))
            time.sleep(SECONDS)  # deliberate: what it says in that time is measured
            said = (home.path / "relay.err").stat().st_size
        wait_for(lambda: is_relay(relay.port))  # it has seen that the others are gone
        with relay.client() as client:
            assert client.log_in(password).startswith("235 ")
            assert client.hand_over().startswith("250 ")
    assert said < 10_000


def test_a_spool_that_is_closed_while_a_thread_appends_leaves_no_file_open(tmp_path: Path) -> None:
    """A client that ends its connection inside a large mail has it closed while a piece is being written."""
    spool = Spool(directory=str(tmp_path), in_memory=4)
    spool.append(b"abc")
    spool.close()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        with contextlib.suppress(ValueError):
            spool.append(b"defgh")
        gc.collect()
    assert warned == []
