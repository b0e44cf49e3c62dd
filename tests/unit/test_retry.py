"""The pause before the next attempt of a mail."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smtpsetup.core.failure import Reply
from smtpsetup.outbox.retry import GIVE_UP_SECONDS, LONGEST_SECONDS, seconds_until_next

HOUR, DAY = 3600.0, 86_400.0


def pause_after(*lines: str, attempts: int = 1, code: str = "") -> float:
    return seconds_until_next(attempts, Reply(451, "4.3.0", lines), code)


@pytest.mark.parametrize(
    ("attempts", "seconds"),
    [(1, 60), (2, 120), (3, 240), (4, 480), (5, 960), (6, 1920), (7, 3600), (8, 3600), (100_000, 3600)],
)
def test_the_pause_doubles_from_a_minute_to_an_hour(attempts: int, seconds: float) -> None:
    assert seconds_until_next(attempts) == seconds


def test_a_mail_is_given_up_after_four_to_five_days() -> None:
    assert 4 * DAY <= GIVE_UP_SECONDS <= 5 * DAY


@pytest.mark.parametrize(
    ("words", "seconds"),
    [
        ("try again in 2 hours", 2 * HOUR),
        ("Please try again in 30 minutes.", 1800),
        ("Retry-After: 600", 600),
        ("retry after 300 seconds", 300),
        ("retry after: 15m", 900),
        ("wait 5 min and try again", 300),
        ("Greylisted for 300 seconds", 300),
        ("Try again later, in 3 hrs", 3 * HOUR),
        ("come back in 1 day", DAY),
        ("Your daily sending limit is exceeded", DAY),
        ("Too many messages per day", DAY),
        ("try again tomorrow", DAY),
        ("limit of 500 messages in 24 hours reached", DAY),
        ("too many messages per hour", HOUR),
        ("hourly limit reached", HOUR),
        ("daily limit reached, try again in 4 hours", 4 * HOUR),
    ],
)
def test_the_time_in_a_reply_sets_the_pause(words: str, seconds: float) -> None:
    assert pause_after(words) == seconds


@pytest.mark.parametrize(
    "words",
    [
        "try again later",
        "Greylisting in action",
        "too many connections from 192.0.2.4",
        "retry timeout exceeded for 3 domains",
        "try again after 10 deliveries have ended",
        "4.7.1 see RFC 5321, section 4.5.4.1, for what to do",
        "in 2 months",
        "",
    ],
)
def test_a_reply_without_a_time_leaves_the_pause_unchanged(words: str) -> None:
    assert pause_after(words) == 60


def test_a_time_may_be_split_over_two_reply_lines() -> None:
    assert pause_after("Please try again", "in 2 hours") == 2 * HOUR


def test_a_shorter_time_in_a_reply_does_not_shorten_the_pause() -> None:
    assert pause_after("try again in 5 seconds", attempts=4) == 480


def test_a_time_of_weeks_in_a_reply_is_capped() -> None:
    assert pause_after("try again in 30 days") == 2 * DAY


@pytest.mark.parametrize(
    ("words", "seconds"),
    [
        ("over quota", 4 * HOUR),
        ("quota per hour exceeded", HOUR),
        ("try again in 10 minutes", 600),
        ("daily quota", DAY),
    ],
)
def test_an_exhausted_quota_waits_for_hours(words: str, seconds: float) -> None:
    assert pause_after(words, code="limit.quota") == seconds


def test_an_exhausted_quota_without_a_reply_waits_for_hours() -> None:
    assert seconds_until_next(1, None, "limit.quota") == 4 * HOUR


@settings(deadline=None)
@given(words=st.text(max_size=200), attempts=st.integers(1, 1000))
def test_the_pause_is_between_a_minute_and_two_days_for_any_reply(words: str, attempts: int) -> None:
    assert 60 <= pause_after(words, attempts=attempts) <= 2 * DAY
    assert pause_after(words, attempts=attempts) >= min(60.0 * 2 ** min(attempts - 1, 20), LONGEST_SECONDS)
