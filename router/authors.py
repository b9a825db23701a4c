"""Whose signatures a step's conversation may hold, and so what another provider must not see.

A conversation is known again by its session and its beginning. Who answered it last is remembered:
what it has grown by since then is that provider's, what was there before may be others'.
"""

import re
from functools import lru_cache
from hashlib import blake2b
from typing import Final

from router import reasoning
from router.policy import Policy
from router.request import Request
from router.sessions import Author, Notes
from telemetry.records import Context, Dialect

BEGINNING_BYTES: Final = 4_096
_BETWEEN: Final = re.compile(rb"\}\s*,\s*\{")


class Authorship:
    """What is known of one step's conversation."""

    def __init__(
        self, authors: Notes[Author], policy: Policy, *, asked: Request, context: Context
    ) -> None:
        """Look the conversation up; of one without a session nothing is known or kept."""
        self._authors = authors
        self._fields = asked.body.fields
        self._dialect: Dialect = context.dialect
        self._name = None
        if context.session is not None and has_several_providers(policy):
            self._name = self._named(context.session)
        self._known = None if self._name is None else authors.get(self._name)

    def cleaned(self, provider: str, *, first: str) -> dict[str, bytes]:
        """Return the fields that change when ``provider`` is asked, as JSON; mostly none.

        ``first`` is the provider that the step asked first: where nothing is known, the
        conversation is taken to be its work.
        """
        known = self._known
        if (known.provider if known else first) != provider:
            return reasoning.without_signed(self._fields, self._dialect)
        if known is None or not known.since:
            return {}
        return reasoning.without_signed(self._fields, self._dialect, turns_max=known.since)

    def wrote(self, provider: str) -> None:
        """Note that the caller gets an answer of ``provider``."""
        if self._name is None:
            return
        known = self._known
        since = 0
        if known is not None and (known.since or known.provider != provider):
            turns = reasoning.count_turns(self._fields, self._dialect)
            since = turns if known.provider != provider else known.since
            if since > turns:
                since = 0  # written anew, and accepted by this provider
        self._known = Author(provider, since)
        if self._known != known:
            self._authors.put(self._name, self._known)

    def _named(self, session: str) -> bytes | None:
        turns = reasoning.conversation(self._fields, self._dialect)
        if turns is None:
            return None
        digest = blake2b(session.encode(), digest_size=16)
        digest.update(beginning(bytes(memoryview(turns)[:BEGINNING_BYTES])))
        return digest.digest()


def beginning(turns: bytes) -> bytes:
    """Return what stays as a conversation grows: its first turn, or the beginning of that.

    >>> beginning(b'[{"role": "user", "content": "Hi"}]')
    b'[{"role": "user", "content": "Hi"}'
    >>> beginning(b'[{"role": "user", "content": "Hi"}, {"role": "assi')
    b'[{"role": "user", "content": "Hi"}'
    """
    between = _BETWEEN.search(turns)
    if between is not None:
        return turns[: between.start() + 1]
    return turns.rstrip().removesuffix(b"]").rstrip()


@lru_cache(maxsize=2)
def has_several_providers(policy: Policy) -> bool:
    """Say whether there is anybody whose signatures another one could be shown."""
    models = (model for tier in policy.ladder for model in policy.models(tier))
    return len({policy.target(model).provider for model in models}) > 1
