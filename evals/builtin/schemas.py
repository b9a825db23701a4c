"""JSON schema validators, compiled once and kept, safe to build from a caller's own schema."""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, Final

import jsonschema_rs
import msgspec

SCHEMA_BYTES_MAX: Final = 262_144
VALIDATORS_MAX: Final = 256
VISITS_MAX: Final = 100_000
BACKTRACK_MAX: Final = 10_000
_MASK: Final = "the value"


class Unusable(ValueError):
    """A schema that cannot be judged by; its text says why without quoting it."""


class Validators:
    """The least recently used of at most ``VALIDATORS_MAX`` schemas is forgotten first."""

    def __init__(self) -> None:
        self._kept: OrderedDict[bytes, jsonschema_rs.Validator | Unusable] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, schema: bytes) -> jsonschema_rs.Validator:
        """Return the validator of a schema given as JSON text; raise ``Unusable``."""
        kept = self._kept.get(schema)
        if kept is None:
            try:
                kept = compiled(schema)
            except Unusable as error:
                kept = error
            if len(schema) <= SCHEMA_BYTES_MAX:
                self._kept[schema] = kept
                if len(self._kept) > VALIDATORS_MAX:
                    self._kept.popitem(last=False)
        else:
            self._kept.move_to_end(schema)
        if isinstance(kept, Unusable):
            raise kept
        return kept


def compiled(schema: bytes) -> jsonschema_rs.Validator:
    """Return a validator that never fetches anything and never runs away.

    Raises:
        Unusable: no valid JSON schema, too large, or references that unfold into too many visits.
    """
    if len(schema) > SCHEMA_BYTES_MAX:
        raise Unusable(f"the schema is larger than {SCHEMA_BYTES_MAX} bytes")
    try:
        parsed = msgspec.json.decode(schema)
        if _visits(parsed, parsed, {}) > VISITS_MAX:
            raise Unusable("the schema's references unfold into too many visits")
        return jsonschema_rs.validator_for(
            parsed,
            offline=True,
            mask=_MASK,
            pattern_options=jsonschema_rs.FancyRegexOptions(backtrack_limit=BACKTRACK_MAX),
        )
    except Unusable:
        raise
    except (ValueError, RecursionError, jsonschema_rs.ReferencingError) as error:
        raise Unusable("the schema does not compile") from error


def fault(validator: jsonschema_rs.Validator, value: Any) -> str | None:
    """Return which rule of the schema ``value`` breaks, never quoting it; None when it holds.

    Raises:
        Unusable: the rule could not be applied, so nothing is known.
    """
    try:
        if validator.is_valid(value):
            return None
        validator.validate(value)
    except jsonschema_rs.ValidationError as error:
        kind = type(error.kind).__name__
        if kind in ("BacktrackLimitExceeded", "RegexEngineFailure"):
            raise Unusable("a pattern of the schema takes too long") from None
        return "/".join(str(part) for part in error.schema_path)
    except ValueError as error:  # nested too deeply for the validator
        raise Unusable("the value cannot be validated") from error
    return None


def _visits(node: Any, root: Any, known: dict[str, int]) -> int:
    """Return how many subschemas one value can be held against when references are followed.

    A reference that leads back into itself counts once: what it costs grows with the value.
    """
    if isinstance(node, list):
        return sum(_visits(item, root, known) for item in node)
    if not isinstance(node, dict):
        return 0
    total = 1
    for key, value in node.items():
        if key in ("$ref", "$dynamicRef") and isinstance(value, str):
            if value not in known:
                known[value] = 1
                known[value] = min(_visits(_target(root, value), root, known), VISITS_MAX + 1)
            total += known[value]
        elif key not in ("$defs", "definitions"):
            total += _visits(value, root, known)
    return total


def _target(root: Any, reference: str) -> Any:
    node = root
    for part in _parts(reference):
        if isinstance(node, list) and part.isdecimal() and int(part) < len(node):
            node = node[int(part)]
        elif isinstance(node, dict):
            node = node.get(part)
        else:
            return None
    return node


def _parts(reference: str) -> Iterator[str]:
    for part in reference.removeprefix("#").split("/"):
        if part:
            yield part.replace("~1", "/").replace("~0", "~")
