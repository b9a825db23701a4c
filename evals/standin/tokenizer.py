"""A deterministic, offline stand-in for a provider's tokenizer.

It cuts text into word pieces of at most five letters, single CJK characters and single marks. Real
vocabularies differ; what matters here is that both sides of a bill count the same way.
"""

import re

PIECE = re.compile(
    r"\s?[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|\s?[^\W\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]{1,5}"
    r"|\s?[^\w\s]|\s+"
)


def pieces(text: str) -> list[str]:
    """Return the tokens of ``text``; joined, they are ``text`` again.

    >>> pieces("Order DE-12, 注文")
    ['Order', ' DE', '-', '12', ',', ' 注', '文']
    """
    return PIECE.findall(text)


def count(text: str) -> int:
    """Return how many tokens ``text`` has."""
    return len(PIECE.findall(text))
