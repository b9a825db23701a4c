"""Decides steps: the declared policy, the standing one, and which of both says what to whom."""

import logging
from collections import OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Final

from learning.learner import Declared, Learner
from learning.revision import Revision, Terms
from learning.serving import Serving
from learning.standing import Standing
from router.policy import PINS, Policy
from telemetry.records import Context, Decision, Reason

logger = logging.getLogger(__name__)

POLICIES_MAX: Final = 8  # versions of the declared policy that are remembered


class Decider:
    """The standing policy over every version of the declared one; it starts with no revision.

    A revision was derived under one version of the declared policy. Under another one it still
    decides for the roles and modes whose terms are the same in both (rules, range, models and
    fields of the tiers in it), if this process has seen both; all others are declared until the
    learner has solved anew.
    """

    def __init__(self) -> None:
        self._standing = Standing()
        self._terms: OrderedDict[str, Mapping[Terms, object]] = OrderedDict()
        self._serving: dict[str, Serving] = {}  # by the declared policy's hash

    @property
    def standing(self) -> Standing:
        """The standing policy as last heard."""
        return self._standing

    def take(self, standing: Standing) -> None:
        """Decide by ``standing`` from now on."""
        self._standing = standing
        self._serving = {}

    def decide(self, policy: Policy, context: Context, *, decision_id: str, at_ns: int) -> Decision:
        """Decide one step under ``policy``; raises what ``Policy.route`` raises.

        Where it cannot be told who serves, the declared arm does, for the reason FALLBACK; what
        people pinned stays pinned.
        """
        learner: Learner = Declared()
        pin, sure = None, False
        try:
            pin = self._standing.pins.get(context.role)
            learner = self.serving(policy).learner(context.session or context.plan or decision_id)
            sure = True
        except Exception:  # a fault of ours in here must not cost the step
            logger.exception("step %s is served as declared", decision_id)
        decision = policy.decide(
            context, decision_id=decision_id, at_ns=at_ns, learner=learner, pin=pin
        )
        if sure or decision.reason in PINS:
            return decision
        return replace(decision, reason=Reason.FALLBACK)

    def serving(self, policy: Policy) -> Serving:
        """Return who serves whom under ``policy``."""
        found = self._serving.get(policy.hash)
        return self._served_under(policy) if found is None else found

    def _served_under(self, policy: Policy) -> Serving:
        standing = self._standing
        self._terms[policy.hash] = policy.terms
        for revision in (standing.previous, standing.revision):
            if revision is not None and revision.policy_hash in self._terms:
                self._terms.move_to_end(revision.policy_hash)
        while len(self._terms) > POLICIES_MAX:
            self._terms.popitem(last=False)
        serving = Serving(
            standing,
            own=[(role, mode) for role, mode in policy.rules if mode is not None],
            changed=self._changed(standing.revision, policy),
            changed_before=self._changed(standing.previous, policy),
        )
        if len(self._serving) >= POLICIES_MAX:
            self._serving.clear()
        self._serving[policy.hash] = serving
        return serving

    def _changed(self, revision: Revision | None, policy: Policy) -> Collection[Terms]:
        """Return the terms of ``policy`` that are not those ``revision`` was derived under."""
        if revision is None or revision.policy_hash == policy.hash:
            return ()
        before = self._terms.get(revision.policy_hash, {})
        return [key for key, terms in policy.terms.items() if before.get(key) != terms]
