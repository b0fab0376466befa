from __future__ import annotations

from email.utils import formatdate

import pytest

from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.io.retry import RetryPolicy, parse_http_date, parse_retry_after


def test_delays_double_up_to_the_longest_and_then_end():
    policy = RetryPolicy(attempts=6, first_delay_s=1.0, max_delay_s=5.0)
    assert [policy.delay_s(n, 0.0, jitter=1.0) for n in range(1, 7)] == [1.0, 2.0, 4.0, 5.0, 5.0, None]


def test_jitter_spreads_a_delay_over_its_upper_half():
    policy = RetryPolicy(first_delay_s=1.0)
    assert [policy.delay_s(1, 0.0, jitter=each) for each in (0.0, 0.5, 1.0)] == [0.5, 0.75, 1.0]


def test_no_attempt_starts_after_the_total_time():
    policy = RetryPolicy(total_s=10.0, first_delay_s=2.0)
    assert policy.delay_s(1, 8.0, jitter=1.0) == 2.0
    assert policy.delay_s(1, 8.1, jitter=1.0) is None


def test_retry_after_is_never_undercut_and_spread_a_little():
    policy = RetryPolicy(first_delay_s=1.0)
    assert policy.delay_s(1, 0.0, jitter=0.0, retry_after_s=7.0) == 7.0
    assert policy.delay_s(1, 0.0, jitter=0.5, retry_after_s=7.0) == 7.5
    assert policy.delay_s(1, 0.0, jitter=1.0, retry_after_s=0.0) == 1.0


def test_retry_after_is_capped():
    assert RetryPolicy(max_delay_s=5.0).delay_s(1, 0.0, jitter=0.0, retry_after_s=3600.0) == 5.0


def test_one_attempt_means_no_retry():
    assert RetryPolicy(attempts=1).delay_s(1, 0.0, jitter=0.0) is None


@pytest.mark.parametrize(
    "wrong", [{"attempts": 0}, {"total_s": -1}, {"first_delay_s": float("nan")}, {"max_delay_s": -0.1}]
)
def test_a_policy_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(InvalidArgumentError, match=next(iter(wrong))):
        RetryPolicy(**wrong)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        ("0", 0.0),
        (" 120 ", 120.0),
        (formatdate(1_700_000_060, usegmt=True), 60.0),
        (formatdate(1_600_000_000, usegmt=True), 0.0),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("²", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value, seconds):
    assert parse_retry_after(value, now_s=1_700_000_000.0) == seconds


def test_an_unreadable_date_is_none():
    assert parse_http_date("Thu, 99 Foo 1970 99:99:99 GMT") is None
