"""Prompts of an exact size whose right answers are known and have an exact size too.

Sizes are those that a stand-in bills: its tokenizer's count, and three tokens around each message.
One message a prompt, so that no prompt cache enters the bill.
"""

from typing import Final

from evals.standin.ask import MESSAGE_TOKENS
from evals.standin.tokenizer import count

NUMBERS_MIN: Final = 10_000
NUMBERS_MAX: Final = 99_999
AMOUNT_TOKENS: Final = 3  # 12345.00: three pieces, right or wrong
_CLOSING: Final = "\n</document>"
_WORD: Final = " item"  # one token, as often as wanted


def amount(number: int, *, tokens_in: int) -> tuple[str, str]:
    """Return a prompt of ``tokens_in`` tokens for a plain number, and the right answer.

    ``number`` (five digits) tells prompts apart. Amounts are whole, so that an answer that does not
    end in ``.00`` is known to be wrong: the check of ``policy.toml`` catches every wrong one.
    """
    assert NUMBERS_MIN <= number <= NUMBERS_MAX, f"{number} has not five digits"
    ask = (
        "Give the value of the field 'amount' as a plain number with two decimals and a point. "
        "Answer with the number only."
    )
    answer = f"{number}.00"
    return _filled(f"{ask}\n\n<document>\namount: {answer}\n", tokens_in), answer


def note(number: int, *, tokens_in: int, tokens_out: int) -> tuple[str, str]:
    """Return a prompt for a value of ``tokens_out`` tokens that stands in it, and that value.

    ``tokens_in`` must have room for the value.
    """
    value = f"N{number}"
    value += _WORD * (tokens_out - count(value))
    assert count(value) == tokens_out, f"no value of {tokens_out} tokens"
    ask = "Give the value of the field 'note' as it stands. Answer with the value only."
    return _filled(f"{ask}\n\n<document>\nnote: {value}\n", tokens_in), value


def _filled(head: str, tokens_in: int) -> str:
    missing = tokens_in - MESSAGE_TOKENS - count(head + "item" + _CLOSING)
    prompt = head + "item" + _WORD * missing + _CLOSING
    assert missing >= 0, f"{tokens_in} tokens are too few for this prompt"
    assert count(prompt) + MESSAGE_TOKENS == tokens_in, "the filler is one token a word"
    return prompt
