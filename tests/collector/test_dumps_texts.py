"""Prompt and answer are found in whichever form a dialect writes them."""

import json
from typing import Any

import pytest

from collector.dumps.texts import texts_of
from evals.audit.texts import Texts

ASKED = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "How far?"}]
PARTS = [
    {"role": "system", "parts": [{"type": "text", "content": "Be brief."}]},
    {"role": "user", "parts": [{"type": "text", "content": "How far?"}]},
]
CHAT = {"choices": [{"message": {"role": "assistant", "content": "Two miles"}}]}

FORMS: dict[str, list[tuple[str, Any]]] = {
    "semconv": [
        ("gen_ai.input.messages", json.dumps(PARTS)),
        ("gen_ai.output.messages",
         json.dumps([{"role": "assistant", "parts": [{"type": "text", "content": "Two miles"}]}])),
    ],
    "semconv, instructions apart": [
        ("gen_ai.system_instructions", json.dumps([{"type": "text", "content": "Be brief."}])),
        ("gen_ai.input.messages", json.dumps(PARTS[1:])),
        ("gen_ai.output.messages", "Two miles"),
    ],
    "our gateway: bodies": [
        ("gen_ai.input.messages", json.dumps({"model": "m", "messages": ASKED})),
        ("gen_ai.output.messages", json.dumps(CHAT)),
    ],
    "our gateway: Anthropic bodies": [
        ("gen_ai.input.messages", json.dumps({"system": "Be brief.", "messages": ASKED[1:]})),
        ("gen_ai.output.messages",
         json.dumps({"role": "assistant", "content": [{"type": "text", "text": "Two miles"}]})),
    ],
    "openllmetry": [
        ("gen_ai.prompt.0.role", "system"), ("gen_ai.prompt.0.content", "Be brief."),
        ("gen_ai.prompt.1.role", "user"), ("gen_ai.prompt.1.content", "How far?"),
        ("gen_ai.completion.0.content", "Two miles"),
    ],
    "openinference": [
        ("input.value", '{"messages": "not this"}'), ("output.value", "nor this"),
        ("llm.input_messages.0.message.role", "system"),
        ("llm.input_messages.0.message.content", "Be brief."),
        ("llm.input_messages.1.message.role", "user"),
        ("llm.input_messages.1.message.contents.0.message_content.text", "How far?"),
        ("llm.output_messages.0.message.content", "Two miles"),
    ],
    "langfuse": [
        ("langfuse.observation.input", json.dumps(ASKED)),
        ("langfuse.observation.output", json.dumps({"role": "assistant", "content": "Two miles"})),
    ],
    "vercel": [("ai.prompt.messages", json.dumps(ASKED)), ("ai.response.text", "Two miles")],
    "litellm": [("messages", ASKED), ("response", CHAT)],
    "responses": [
        ("gen_ai.input.messages", json.dumps({"input": ASKED})),
        ("gen_ai.output.messages", json.dumps({"output": [
            {"type": "message", "role": "assistant",
             "content": [{"type": "output_text", "text": "Two miles"}]}]})),
    ],
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_what_was_said_is_found(form: str) -> None:
    assert texts_of(FORMS[form]) == Texts(
        system="Be brief.",
        user="How far?",
        prompt="user: How far?" if form in APART else "system: Be brief.\nuser: How far?",
        answer="Two miles",
    )


APART = ("semconv, instructions apart",)


def test_the_last_thing_the_caller_said_counts() -> None:
    said = [*ASKED, {"role": "assistant", "content": "To where?"}, {"role": "user", "content": "X"}]
    found = texts_of([("messages", said)])
    assert found is not None
    assert found.user == "X"


@pytest.mark.parametrize("answer", ['{"total": "12.50", "vat": "1.90"}', "[1, 2]", "{broken"])
def test_json_that_was_said_stays_what_was_said(answer: str) -> None:
    found = texts_of([("ai.prompt", "Fill it."), ("ai.response.text", answer)])
    assert found is not None
    assert found.answer.replace(" ", "") == answer.replace(" ", "")


@pytest.mark.parametrize(
    "pairs",
    [
        [],
        [("gen_ai.request.model", "m"), ("gen_ai.usage.prompt_tokens", 4)],
        [("gen_ai.output.messages", "an answer alone")],
        [("messages", {})],
        [("gen_ai.input.messages", "[" * 5_000 + "]" * 5_000), ("x", None)],
    ],
)
def test_without_a_prompt_or_in_nonsense_nothing_is_claimed(pairs: list[tuple[str, Any]]) -> None:
    found = texts_of(pairs)
    assert found is None or found.user.startswith("[[[")
