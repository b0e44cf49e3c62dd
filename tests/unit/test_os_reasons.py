"""System errors are shown in words, without error numbers."""

from __future__ import annotations

import errno
import os
import socket

import pytest

from smtpsetup.core.errors import reason_of
from smtpsetup.core.os_reasons import TEXTS


@pytest.mark.parametrize(
    "number",
    [errno.ENOENT, errno.EACCES, errno.EISDIR, errno.EROFS, errno.ENOSPC, errno.ECONNREFUSED, errno.ENETUNREACH],
)
def test_common_errors_are_shown_in_the_systems_own_words(number: int) -> None:
    assert os.strerror(number) in TEXTS
    assert reason_of(OSError(number, os.strerror(number), "file")) == os.strerror(number)


def test_an_unknown_host_is_reported_without_an_error_number() -> None:
    with pytest.raises(socket.gaierror) as caught:
        socket.getaddrinfo("name.invalid", 25)
    assert "[Errno" not in reason_of(caught.value)
    assert (
        reason_of(socket.gaierror(socket.EAI_NONAME, "nodename nor servname provided, or not known"))
        == "Name or service not known"
    )


def test_the_symbolic_name_of_an_error_is_put_into_words() -> None:
    assert reason_of(OSError(errno.ENETUNREACH, "ENETUNREACH")) == os.strerror(errno.ENETUNREACH)


@pytest.mark.parametrize("error", [OSError(0, "disk on fire"), ValueError("disk on fire")])
def test_an_unknown_error_is_shown_as_it_is(error: Exception) -> None:
    assert reason_of(error) == "disk on fire"
