"""What a prompt and its answer give away, and what they must not."""

import pytest

from evals.audit.texts import Plain, Texts, marks_of, plain_way

INVOICE = "Invoice 2026-117 of ACME GmbH: total due EUR 1,240.50 until 3 March."


@pytest.mark.parametrize(
    ("texts", "way"),
    [
        (Texts(user=INVOICE, prompt=INVOICE, answer="1,240.50"), Plain.COPY),
        (Texts(user=INVOICE, prompt=INVOICE, answer='"ACME GmbH".'), Plain.COPY),
        (Texts(user=INVOICE, prompt=INVOICE, answer="1,240"), Plain.COPY),
        (Texts(user=INVOICE, prompt=INVOICE, answer="240.50 pounds"), None),
        # A label out of the instructions is a choice, not a copy.
        (Texts(system="Answer 'in scope' or 'off topic'.", user="Is this off topic?",
               prompt="x", answer="off topic"), None),
        # One short word may stand anywhere by chance.
        (Texts(user="yes or no: is it due?", prompt="x", answer="yes"), None),
        (Texts(user='Name? {"name": "Ada", "age": 36}', prompt="x", answer="Ada"), Plain.FIELD),
        (Texts(user='{"a": {"id": [7, "x-17"]}}', prompt="x", answer="x-17"), Plain.FIELD),
        (Texts(user=INVOICE, prompt="x",
               answer='```json\n{"number": "2026-117", "total": "1,240.50"}\n```'), Plain.FORM),
        # A value that is not in the prompt had to be thought of.
        (Texts(user=INVOICE, prompt="x",
               answer='{"number": "2026-117", "country": "Germany"}'), None),
        (Texts(user=INVOICE, prompt="x", answer='{"number": "2026-117"}'), None),
        (Texts(user=INVOICE, prompt="x", answer=""), None),
        (Texts(user="", prompt="", answer="1,240.50"), None),
    ],
)  # fmt: skip
def test_how_code_could_have_answered(texts: Texts, way: Plain | None) -> None:
    assert plain_way(texts) is way


def test_a_number_inside_a_longer_number_is_no_copy() -> None:
    said = "Order 912345678 was sent."
    assert plain_way(Texts(user=said, prompt=said, answer="1234567")) is None


def test_the_same_words_in_other_order_have_one_bag_and_two_prints() -> None:
    one = marks_of(Texts(user="What is the total of invoice 12?", prompt="a", answer="1"))
    two = marks_of(Texts(user="Please tell me the invoice 12 total!", prompt="b", answer="1"))
    other = marks_of(Texts(user="Please tell me the invoice 13 total!", prompt="c", answer="1"))
    assert one.bag == two.bag != ""
    assert one.user != two.user
    assert other.bag != one.bag
    assert one.answer == two.answer


def test_marks_hold_no_text_and_unknown_texts_leave_them_empty() -> None:
    found = marks_of(Texts(user="the secret word", prompt="the secret word", answer="secret word"))
    assert "secret" not in repr(found)
    assert len(found.prompt) == 16
    empty = marks_of(Texts())
    assert (empty.prompt, empty.bag, empty.answer, empty.plain) == ("", "", "", None)


def test_json_that_nests_without_end_is_only_text() -> None:
    deep = "[" * 100_000
    assert marks_of(Texts(user="x", prompt="x", answer=deep)).structured is False
