"""The standing policy: which revision serves now, whom it serves, and what people hold fixed.

This is the document that the collector answers and gateways keep: what they decide by until they
hear of a newer one.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from learning.revision import Revision, parse_arm
from learning.revision import parse as parse_revision
from telemetry.records import Arm

FORMAT = 1
EVERY_ROLE = "*"


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What gateways decide by.

    Sessions in the first ``rollout`` (0..1) of the hash's range get ``revision``, all others
    ``previous``; None is the declared policy. ``pins`` fix a role's arm whatever a revision says,
    with propensity 1: people set them while the collector runs. ``graded`` names the roles whose
    graders judge every answer for now, `*` all of them: something may be wrong with their quality.
    """

    revision: Revision | None = None
    previous: Revision | None = None
    rollout: float = 1.0
    pins: Mapping[str, Arm] = field(default_factory=dict)
    graded: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if not 0.0 <= self.rollout <= 1.0:
            raise ValueError(f"rollout {self.rollout} is not in 0..1")

    @cached_property
    def text(self) -> str:
        """Canonical JSON; equal documents have equal texts."""
        content: dict[str, object] = {
            "format": FORMAT,
            "revision": None if self.revision is None else self.revision.text,
            "previous": None if self.previous is None else self.previous.text,
            "rollout": self.rollout,
            "pins": {role: str(arm) for role, arm in self.pins.items()},
        }
        if self.graded:
            content["graded"] = sorted(self.graded)
        return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)

    @cached_property
    def etag(self) -> str:
        """The strong entity tag of the text, quotes included.

        What stands before its dot, if it has one, is the tag without ``graded``: ``decided`` takes
        that part.
        """
        if not self.graded:
            return f'"{hashlib.sha256(self.text.encode()).hexdigest()[:32]}"'
        whole = hashlib.sha256(self.text.encode()).hexdigest()[:8]
        return f'{replace(self, graded=frozenset()).etag[:-1]}.{whole}"'

    def grades_all(self, role: str) -> bool:
        """Say whether the graders of ``role`` judge every answer for now."""
        return role in self.graded or EVERY_ROLE in self.graded


def parse(text: str) -> Standing:
    """The document that ``text`` holds; ValueError says what is wrong with it."""
    try:
        content = json.loads(text)
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']!r} is not {FORMAT}")
        found = Standing(
            revision=_revision(content["revision"]),
            previous=_revision(content["previous"]),
            rollout=float(content["rollout"]),
            pins={str(role): parse_arm(arm) for role, arm in content["pins"].items()},
            graded=frozenset(str(role) for role in content.get("graded", ())),
        )
        assert found.etag  # a number that has no text is refused here, not when it is asked for
        return found
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a standing policy: {error!r}") from error


def decided(etag: str) -> str:
    """Return the part of an entity tag that changes only with what decides steps.

    >>> decided('"9f2c.41ab"'), decided('"9f2c"'), decided('"declared"')
    ('"9f2c"', '"9f2c"', '"declared"')
    """
    head, dot, _ = etag.partition(".")
    return head + '"' if dot else etag


def _revision(text: str | None) -> Revision | None:
    return None if text is None else parse_revision(text)
