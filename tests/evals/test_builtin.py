import json
from typing import Any

import pytest

from evals.answers import Answer, Finish, TokenLogprob, ToolCall
from evals.builtin.refusal import language_of_refusal
from telemetry.records import Result
from tests.evals.answering import judged, result, says

CANARY = "sk-canary-7f3a"


def test_not_truncated_looks_at_the_end_of_the_answer() -> None:
    expected = {
        Finish.COMPLETE: "pass",
        Finish.TOOL_USE: "pass",
        Finish.PAUSED: "pass",
        Finish.REFUSED: "pass",
        Finish.TRUNCATED: "fail",
        Finish.FAILED: "fail",
        Finish.UNKNOWN: "abstain",
    }
    assert {f: result(says("x", finish=f), "not_truncated") for f in Finish} == expected


def test_not_empty_wants_words_or_a_call() -> None:
    call = (ToolCall("f", "{}"),)
    assert result("x", "not_empty") == "pass"
    assert result(says("", tool_calls=call), "not_empty") == "pass"
    assert result(says("", refusal="No."), "not_empty") == "pass"
    assert result("", "not_empty") == "fail"
    assert result(" \n\t\u00a0", "not_empty") == "fail"
    assert result(says("", finish=Finish.PAUSED), "not_empty") == "abstain"
    assert judged(says("", malformed="no choice"), "not_empty").reason == "no choice"


REFUSALS = {
    "en": [
        "I'm sorry, but I can't help with that.",
        "I\u2019m really sorry, but I cannot do this.",
        "**Unfortunately, I am unable to do it.**",
        "I can't provide that information.",
        "As an AI language model, I cannot have opinions.",
        "I must decline.",
    ],
    "de": [
        "Es tut mir leid, aber dabei kann ich nicht helfen.",
        "Leider kann ich das nicht.",
        "Ich kann Ihnen dabei nicht helfen.",
    ],
    "fr": ["Désolé, je ne peux pas.", "Je ne peux pas vous aider."],
    "es": ["Lo siento, pero no puedo ayudar con eso."],
    "it": ["Mi dispiace, ma non posso aiutarti."],
    "pt": ["Desculpe, mas não posso ajudar."],
    "nl": ["Het spijt me, maar ik kan je daarbij niet helpen."],
    "pl": ["Przykro mi, ale nie mogę pomóc."],
    "ru": ["\u041a сожалению, я не могу помочь."],
    "zh": ["很抱歉\uff0c我无法提供帮助。", "对不起\uff0c我不能这样做。"],
    "ja": ["申し訳ありませんが、お応えできません。"],
    "ko": ["죄송하지만 도와드릴 수 없습니다."],
}


@pytest.mark.parametrize(("language", "text"), [(k, t) for k, ts in REFUSALS.items() for t in ts])
def test_a_refusal_is_known_by_its_opening(language: str, text: str) -> None:
    assert language_of_refusal(text) == language
    assert result(text, "not_refusal") == "fail"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Sorry for the delay. Here is the list.",
        "I can't find a bug in this function.",
        "The agent said: \"I'm sorry, but I can't help with that.\"",
        "Unfortunately the build failed: three tests are red.",
        "Leider ist der Zug verspätet.",
        "Ich kann dir helfen, das ist nicht schwer.",
        "Lo siento mucho. Aquí está el informe.",
        "not refusal",
        "I'm sorry, but I can't help with that. " + "But here is how it works. " * 60,
    ],
)
def test_an_answer_is_not_taken_for_a_refusal(text: str) -> None:
    assert result(text, "not_refusal") == "pass"


def test_the_providers_own_signal_of_a_refusal_counts() -> None:
    assert result(says("fine", finish=Finish.REFUSED), "not_refusal") == "fail"
    assert result(says("", refusal="No."), "not_refusal") == "fail"
    sorry = says("I'm sorry, but I can't help", tool_calls=(ToolCall("f", "{}"),))
    assert result(sorry, "not_refusal") == "pass"


def test_max_length_counts_what_it_is_told_to() -> None:
    assert result("abcde", "max_length", characters=5) == "pass"
    assert result("abcdef", "max_length", characters=5) == "fail"
    assert result("a b  c", "max_length", words=3) == "pass"
    assert judged("a b c d", "max_length", words=3).reason == "4 words, at most 3 are allowed"
    assert result("a\nb\n", "max_length", lines=2) == "pass"
    assert result("a\nb\nc", "max_length", lines=2, characters=99) == "fail"


def test_one_of_ignores_white_space_and_case_only_when_told() -> None:
    assert result(" yes\n", "one_of", values=["yes", "no"]) == "pass"
    assert result("Yes", "one_of", values=["yes", "no"]) == "fail"
    assert result("STRASSE", "one_of", values=["straße"], ignore_case=True) == "pass"
    assert result("yes.", "one_of", values=["yes"]) == "fail"


def test_contains_scores_the_share_of_conditions_that_hold() -> None:
    assert result("alpha beta", "contains", values=["alpha", "beta"], absent=["gamma"]) == "pass"
    verdict = judged("alpha gamma", "contains", values=["alpha", "beta"], absent=["gamma", "x"])
    assert (verdict.result, verdict.score) == (Result.FAIL, 0.5)
    assert result("ALPHA", "contains", values=["alpha"], ignore_case=True) == "pass"


def test_regex_searches_or_matches_the_whole() -> None:
    assert result("id: 42", "regex", pattern=r"\d+") == "pass"
    assert result("id: 42", "regex", pattern=r"\d+", whole=True) == "fail"
    assert result("42", "regex", pattern=r"\d+", whole=True) == "pass"
    assert result("42\n", "regex", pattern=r"\d+", whole=True) == "fail"
    assert result("b2", "regex", pattern=r"a|b\d", whole=True) == "pass"
    assert result("", "regex", pattern=r".*") == "pass"


def test_regex_runs_in_linear_time() -> None:
    text = "a" * 200_000 + "b"
    assert result(text, "regex", pattern=r"^(a+)+$") == "fail"
    assert result(text, "regex", pattern=r"^(a|a)*$") == "fail"


def test_number_range_keeps_its_edges_exact() -> None:
    assert result("0.1", "number_range", min=0.1, max=0.2) == "pass"
    assert result(" 0.2 ", "number_range", max=0.2) == "pass"
    assert result("0.20000000000000000001", "number_range", max=0.2) == "fail"
    assert result("-1e3", "number_range", min=-1000) == "pass"
    assert result("-1001", "number_range", min=-1000) == "fail"
    for text in ("", "ten", "1,000", "nan", "inf", "1e9999", "0x10", "5 apples"):
        assert result(text, "number_range", min=0) == "fail"


def test_number_range_reads_a_field_of_a_json_answer() -> None:
    text = '{"score": {"value": 0.7}, "flag": true, "name": "7"}'
    assert result(text, "number_range", field="score.value", min=0.5, max=1) == "pass"
    assert result(text, "number_range", field="score.value", min=0.8) == "fail"
    for field in ("flag", "name", "score", "absent"):
        assert result(text, "number_range", field=field, min=0) == "fail"


def sure(*values: float) -> Answer:
    return says("x", logprobs=tuple(TokenLogprob("t", value) for value in values) or None)


def test_min_logprob_holds_the_mean_and_the_least() -> None:
    assert result(sure(-0.25, -0.75), "min_logprob", mean=-0.5) == "pass"
    assert result(sure(-0.25, -0.76), "min_logprob", mean=-0.5) == "fail"
    assert result(sure(-0.1, -3.0), "min_logprob", token=-2.0) == "fail"
    assert result(sure(0.0), "min_logprob", mean=0) == "pass"
    verdict = judged(sure(-0.25, -0.75), "min_logprob", mean=-0.5, token=-1)
    assert (verdict.score, verdict.reason) == (None, "mean logprob -0.500, least -0.750")


def test_min_logprob_abstains_without_numbers_that_can_be_true() -> None:
    assert result(sure(), "min_logprob", mean=-1) == "abstain"
    assert result(sure(float("nan")), "min_logprob", mean=-1) == "abstain"
    assert result(sure(0.5), "min_logprob", mean=-1) == "abstain"


TEXT_CHECKS: list[tuple[str, dict[str, Any]]] = [
    ("json", {}),
    ("json_schema", {"schema": {"type": "object"}}),
    ("required_keys", {"keys": ["a"]}),
    ("one_of", {"values": ["a"]}),
    ("contains", {"values": ["a"]}),
    ("regex", {"pattern": "^a$"}),
    ("number_range", {"min": 1}),
    ("max_length", {"characters": 3}),
    ("python_parses", {}),
    ("unified_diff_applies", {}),
]


@pytest.mark.parametrize(("name", "parameters"), TEXT_CHECKS)
def test_checks_of_the_text_abstain_where_there_is_no_final_text(
    name: str, parameters: dict[str, Any]
) -> None:
    calling = says("Let me look.", tool_calls=(ToolCall("f", "{}"),))
    assert result(calling, name, **parameters) == "abstain"
    assert result(says("half of", malformed="cut"), name, **parameters) == "abstain"
    assert result(says("", malformed="no JSON"), name, **parameters) == "fail"
    assert result("x" * 1_048_577, name, **parameters) == "abstain"
    assert result("= no =", name, **parameters) == "fail"


@pytest.mark.parametrize(("name", "parameters"), TEXT_CHECKS)
def test_no_reason_quotes_the_answer(name: str, parameters: dict[str, Any]) -> None:
    for text in (
        CANARY,
        json.dumps({CANARY: CANARY}),
        json.dumps(CANARY),
        f"@@ -1 +1 @@\n{CANARY}",
    ):
        assert CANARY not in judged(text, name, **parameters).reason
