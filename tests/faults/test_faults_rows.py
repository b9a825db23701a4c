"""Every fault that the gateway is held to, with the tests that show what it does then.

A row names tests as `file::test`, or rows of the fault table (`test_faults_table.py`) by their
behaviour alone.
"""

import ast
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from tests.faults.test_faults_table import CONNECTIONS, TABLE
from tests.needs import SAID

TESTS = Path(__file__).parents[1]
ROWS: dict[str, tuple[str, ...]] = {
    "a provider refuses the connection": ("refused",),
    "a connection that neither succeeds nor fails": ("blackhole",),
    "silence before the headers": ("silent", "headers_then_silent"),
    "silence in the middle of a stream": (
        "silent_mid_stream",
        "router/test_attempt.py::test_a_broken_answer_is_never_judged_good",
    ),
    "a reset": ("reset_mid_stream", "reset_before_headers", "close_before_headers"),
    "an end without the dialect's last event": ("clean_eof", "truncated_eof"),
    "half-closed, by a provider and by a caller": (
        "half_close",
        "faults/test_faults_halves.py::"
        "test_a_caller_that_only_closed_its_sending_half_gets_its_whole_answer",
        "faults/test_faults_halves.py::"
        "test_a_half_closed_caller_that_then_leaves_ends_the_providers_work",
    ),
    "429, and Retry-After in every form": (
        "rate_limited",
        "rate_limited_seconds",
        "rate_limited_date",
        "rate_limited_negative",
        "rate_limited_huge",
        "rate_limited_garbage",
        "router/test_retry.py::test_every_form_of_retry_after_is_read_or_says_nothing",
    ),
    "500, 502, 503, 504, 529": (
        "status_500",
        "status_502",
        "status_503",
        "status_504",
        "status_529",
        "router/test_retry.py::test_without_a_word_the_pause_is_full_jitter",
    ),
    "every provider down for long": (
        "faults/test_faults_storms.py::"
        "test_when_everything_is_down_the_load_grows_by_a_fifth_at_most",
        "faults/test_faults_storms.py::"
        "test_an_outage_that_lasts_costs_providers_a_fifth_more_at_most",
        "router/test_breaker.py::test_extra_calls_never_exceed_the_share_and_the_floor",
        "router/test_breaker.py::test_a_probe_that_answers_closes_and_one_that_fails_opens_for_longer",
    ),
    "status 200, and the first event is an error": (
        "error_first_event",
        "router/test_attempt.py::test_a_stream_that_began_with_an_error_is_told_apart_at_any_cut",
    ),
    "an error event in the middle of a stream": ("error_mid_stream",),
    "a character cut at every byte": (
        "router/test_cuts.py::test_a_stream_cut_at_any_byte_arrives_whole_and_is_read_the_same",
        "router/test_cuts.py::"
        "test_over_sockets_a_stream_cut_in_characters_and_line_ends_arrives_whole",
    ),
    "an event cut at every byte, with every line end": (
        "router/test_cuts.py::test_a_stream_that_comes_byte_by_byte_arrives_whole",
        "router/test_attempt.py::test_the_caller_gets_one_answers_exact_bytes_or_one_clean_error",
        "evals/test_assembly.py::test_data_is_found_however_the_event_is_laid_out",
    ),
    "a line of ten megabytes, a million chunks of one byte": (
        "huge_line",
        "one_byte_chunks",
        "million_one_byte_chunks",
        "router/test_attempt.py::test_holding_a_stream_takes_its_buffer_and_nothing_more",
    ),
    "usage that is missing or cannot be true": (
        "usage_missing",
        "usage_negative",
        "usage_huge",
        "usage_absurd",
        "usage_text",
        "usage_null",
        "router/test_usage.py::test_a_number_that_cannot_be_true_is_unknown",
    ),
    "a caller that leaves, in four phases": (
        "faults/test_faults_storms.py::test_a_caller_that_leaves_ends_the_providers_work_too",
        "faults/test_faults_storms.py::"
        "test_a_caller_that_leaves_after_the_last_byte_changes_nothing",
        "router/test_step.py::test_a_hang_up_at_any_moment_is_recorded_once",
    ),
    "a caller that reads slowly or not at all": (
        "faults/test_faults_storms.py::"
        "test_a_caller_that_does_not_read_holds_up_its_provider_and_nobody_else",
        "faults/test_faults_storms.py::"
        "test_a_caller_that_takes_nothing_for_too_long_is_hung_up_on_and_still_costs",
        "router/test_patience.py::test_a_caller_that_reads_slowly_is_waited_for",
        "drip",
    ),
    "a thousand callers that leave": (
        "faults/test_faults_storms.py::"
        "test_a_storm_of_a_thousand_callers_that_leave_leaves_nothing_behind",
    ),
    "heads and bodies that do not end": (
        "router/test_patience.py::"
        "test_a_head_that_does_not_end_is_hung_up_on_while_others_are_served",
        "router/test_patience.py::test_connections_over_the_limit_are_told_to_come_back",
        "router/test_request.py::test_a_body_that_never_comes_is_given_up",
    ),
    "bodies over the limit, lengths that lie, framing with two ends": (
        "faults/test_faults_framing.py::"
        "test_a_request_with_two_ends_is_refused_and_its_connection_closed",
        "router/test_app.py::test_a_body_over_the_limit_is_refused_though_it_states_no_length",
        "router/test_app.py::test_headers_of_a_hundred_kilobytes_are_refused",
        "length_too_long",
        "length_too_short",
        "garbage",
        "gzip_unasked",
    ),
    "JSON that is deep, doubled, odd or none": (
        "router/test_app.py::test_a_bad_body_is_refused_in_the_callers_dialect",
        "router/test_app.py::test_a_deeply_nested_body_is_refused",
        "router/test_body.py::test_damaged_documents_are_parsed_as_python_reads_them_or_refused",
    ),
    "headers that would smuggle something": (
        "router/test_app.py::test_a_header_that_would_smuggle_something_is_refused",
        "router/test_app.py::test_a_role_header_cannot_add_lines_to_a_reply",
        "router/test_leaks.py::"
        "test_a_provider_sees_its_own_address_and_key_and_nothing_of_the_callers",
    ),
    "requests and redirects that name a host": (
        "redirect",
        "redirected",
        "router/test_leaks.py::test_no_part_of_a_request_chooses_where_it_goes",
        "router/test_upstream.py::test_a_redirect_is_an_answer_and_is_not_followed",
    ),
    "keys in prompts, errors and logs": (
        "denied_401",
        "denied_402",
        "denied_403",
        "router/test_leaks.py::test_no_key_is_in_any_record_log_or_object",
        "router/test_chain.py::"
        "test_a_refusal_of_our_key_never_reaches_the_caller_in_the_providers_words",
    ),
    "SIGTERM and a reload with 200 live streams": (
        "faults/test_faults_drain.py::"
        "test_a_gateway_that_is_told_to_end_finishes_its_streams_first",
        "faults/test_faults_drain.py::"
        "test_a_gateway_that_is_given_another_policy_finishes_its_streams_by_the_old_one",
    ),
    "a fault of our own in policy code": (
        "router/test_decider.py::"
        "test_a_fault_of_ours_in_who_serves_leaves_the_declared_arm_and_says_so",
        "router/test_policy.py::test_a_learner_that_raises_never_costs_a_step",
        "router/test_raising.py::test_a_fault_of_ours_sends_the_step_to_its_declared_tier",
        "router/test_step.py::test_a_fault_of_our_own_costs_one_step_and_says_so",
    ),
    "checks that hang, crash or always fail": (
        "faults/test_faults_checks.py::test_a_check_that_breaks_has_no_opinion_and_is_counted",
        "faults/test_faults_checks.py::"
        "test_a_check_that_always_fails_climbs_once_and_delivers_or_refuses",
        "faults/test_faults_checks.py::"
        "test_a_check_that_keeps_hanging_is_switched_off_and_then_costs_nothing",
    ),
    "code functions that raise, block or return nonsense": (
        "faults/test_faults_code.py::test_a_function_that_goes_wrong_costs_the_step_nothing",
        "faults/test_faults_code.py::"
        "test_a_function_and_the_tier_above_it_that_both_fail_leave_the_one_above",
    ),
}
HEALTHY = {"ok", "late"}  # rows of the table that are no faults


@cache
def names_of(file: str) -> set[str]:
    """Return the names of all tests in a file of `tests/`."""
    tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
    return {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


@pytest.mark.parametrize("fault", ROWS)
def test_what_shows_a_fault_exists(fault: str) -> None:
    for named in ROWS[fault]:
        file, _, test = named.partition("::")
        if test:
            assert test in names_of(file), named
        else:
            assert named in TABLE or named in CONNECTIONS, named


def test_every_row_of_the_fault_table_stands_here_and_how_many_faults_there_are(
    record_property: Callable[[str, object], None],
) -> None:
    named = [name for row in ROWS.values() for name in row]
    assert {name for name in named if "::" not in name} == set(TABLE | CONNECTIONS) - HEALTHY
    assert len(named) == len(set(named))
    tests = sum("::" in name for name in named)
    table = len(named) - tests
    record_property(
        SAID, f"faults: {len(ROWS)} kinds, shown by {table} rows of the fault table, {tests} tests"
    )
