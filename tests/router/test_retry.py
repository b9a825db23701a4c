"""`Retry-After` in every form, and the pause before the same model is asked again."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.retry import (
    ASKED_SECONDS_MAX,
    PAUSE_SECONDS_MAX,
    WAIT_SECONDS_MAX,
    pause_seconds,
    retry_after_seconds,
)

# Wednesday, 21 October 2015, 07:28:00 UTC.
NOW_NS = 1_445_412_480 * 10**9


def read(*headers: tuple[bytes, bytes]) -> float | None:
    return retry_after_seconds(headers, now_ns=NOW_NS)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"2", 2.0),
        (b"0", 0.0),
        (b" 7 ", 7.0),
        (b"1.5", 1.5),
        (b"-5", 0.0),
        (b"1000000000", ASKED_SECONDS_MAX),
        (b"1e308", ASKED_SECONDS_MAX),
        (b"inf", ASKED_SECONDS_MAX),
        (b"-inf", 0.0),
        (b"nan", None),
        (b"", None),
        (b"soon\t(maybe)", None),
        (b"\xff\xfe", None),
        (b"Wed, 21 Oct 2015 07:28:30 GMT", 30.0),
        (b"Wed, 21 Oct 2015 07:27:00 GMT", 0.0),
        (b"Wed, 21 Oct 2015 09:28:30 +0200", 30.0),
        (b"Wed, 21 Oct 2015 07:28:30", 30.0),
        (b"Wed, 21 Oct 2515 07:28:30 GMT", ASKED_SECONDS_MAX),
        (b"Wed, 99 Oct 2015 07:28:30 GMT", None),
        (b"Wed, 21 Oct 2015 07:28:30 +9999999999999999999", None),
    ],
)
def test_every_form_of_retry_after_is_read_or_says_nothing(
    value: bytes, seconds: float | None
) -> None:
    assert read((b"Retry-After", value)) == seconds


def test_milliseconds_go_before_seconds_unless_they_are_garbage() -> None:
    assert read((b"retry-after-ms", b"250"), (b"Retry-After", b"9")) == 0.25
    assert read((b"Retry-After-Ms", b"x"), (b"retry-after", b"9")) == 9.0
    assert read((b"retry-after-ms", b"-1")) == 0.0
    assert read((b"retry-after-ms", b"1e300")) == ASKED_SECONDS_MAX
    assert read() is None


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(st.binary(max_size=60), st.from_regex(rb"[A-Z][a-z]{2}, ?\d* \w{3} \d+ [\d:]+ .*"))
)
def test_no_value_raises_or_gives_an_absurd_wait(value: bytes) -> None:
    found = read((b"retry-after", value), (b"retry-after-ms", value))
    assert found is None or 0.0 <= found <= ASKED_SECONDS_MAX


@settings(max_examples=100, deadline=None)
@given(st.floats(0, WAIT_SECONDS_MAX), st.integers(0, 10_000))
def test_a_wait_that_is_asked_for_is_kept_and_jittered(asked: float, seed: int) -> None:
    pause = pause_seconds(asked, random.Random(seed))
    assert pause is not None
    assert asked <= pause <= asked + PAUSE_SECONDS_MAX


@pytest.mark.parametrize("asked", [WAIT_SECONDS_MAX + 0.001, 60.0, ASKED_SECONDS_MAX])
def test_a_wait_over_the_limit_is_the_callers_to_decide_on(asked: float) -> None:
    assert pause_seconds(asked, random.Random(1)) is None


def test_without_a_word_the_pause_is_full_jitter() -> None:
    rng = random.Random(5)
    pauses = [pause_seconds(None, rng) for _ in range(400)]
    known = [pause for pause in pauses if pause is not None]
    assert len(known) == 400
    assert min(known) < 0.1 * PAUSE_SECONDS_MAX
    assert max(known) > 0.9 * PAUSE_SECONDS_MAX
