"""OpenAI embeddings: vectors that depend on the text alone."""

import base64
import hashlib
import math
import struct
from typing import Any

import msgspec

from evals.standin.skills import EMBEDDING_MODEL, EMBEDDING_VERSION

DIMENSIONS = 64
INPUTS_MAX = 2_048


class BadInput(Exception):
    """What was handed in cannot be embedded."""


def texts_of(body: dict[str, Any]) -> list[str]:
    """Return the texts to embed; raise ``BadInput``, or ``LookupError`` for an unknown model."""
    if body.get("model") not in (EMBEDDING_MODEL, EMBEDDING_VERSION):
        raise LookupError(f"The model {body.get('model')!r} does not exist.")
    given = body.get("input")
    texts = given if isinstance(given, list) else [given]
    if not texts or len(texts) > INPUTS_MAX:
        raise BadInput(f"input must hold 1 to {INPUTS_MAX} texts")
    if all(isinstance(text, int) for text in texts):
        return [" ".join(str(token) for token in texts)]
    return [text if isinstance(text, str) else str(text) for text in texts]


def answer(texts: list[str], body: dict[str, Any], *, tokens: int) -> bytes:
    """Return the body of the answer."""
    encoded = body.get("encoding_format") == "base64"
    rows = [
        {"object": "embedding", "index": n, "embedding": _vector(text, encoded=encoded)}
        for n, text in enumerate(texts)
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return msgspec.json.encode(
        {"object": "list", "data": rows, "model": EMBEDDING_VERSION, "usage": usage}
    )


def _vector(text: str, *, encoded: bool) -> list[float] | str:
    raw = hashlib.shake_256(text.encode(errors="replace")).digest(DIMENSIONS * 2)
    values = [int.from_bytes(raw[n : n + 2], "big") / 32768 - 1 for n in range(0, len(raw), 2)]
    norm = math.sqrt(sum(value * value for value in values)) or 1.0
    vector = [value / norm for value in values]
    if encoded:
        return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
    return vector
