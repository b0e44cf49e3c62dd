"""The error of a message that no recipient got, by what was said of each of them."""

from __future__ import annotations

import pytest

from smtpsetup.core.failure import Failure, Kind, Refused, Reply, TransportError
from smtpsetup.core.model import Stage
from smtpsetup.message.delivery import Delivery
from smtpsetup.message.message import Envelope
from smtpsetup.sending.send_one import failed
from tests.conftest import account_at, context_of
from tests.messages import from_bytes

ACCOUNT = account_at(587)


def refusal(code: int, enhanced: str, text: str) -> Failure:
    return Failure(Stage.RCPT, Kind.REPLY, ACCOUNT.server, Reply(code, enhanced, (text,)))


UNKNOWN = refusal(550, "5.1.1", "User unknown")
QUOTA = refusal(550, "5.4.5", "Daily sending quota exceeded")
GREYLISTED = refusal(451, "4.7.1", "Greylisted, try later")
POLICY = refusal(550, "5.7.1", "Rejected by policy")


@pytest.mark.parametrize(
    ("refused", "exit_code"),
    [
        ((UNKNOWN, UNKNOWN), 67),
        ((QUOTA, UNKNOWN), 75),
        ((GREYLISTED, UNKNOWN), 75),
        ((POLICY, UNKNOWN), 69),
    ],
)
def test_exit_code_67_is_for_mail_whose_every_recipient_is_unknown(
    refused: tuple[Failure, ...], exit_code: int
) -> None:
    """Scripts delete the addresses of a mail that ends with 67."""
    addresses = tuple(Refused(f"r{number}@example.com", failure) for number, failure in enumerate(refused))
    delivery = Delivery(Envelope("info@example.com", ("r0@example.com",)), from_bytes(b"Subject: hej\r\n\r\nhej\r\n"))
    error = failed(context_of(ACCOUNT), delivery, TransportError(refused[-1], addresses)).error
    assert error
    assert error.exit_code == exit_code
