"""ParetoBandit's own package as a player: the best quality under a ceiling on cost per request.

It knows no floor, so its ceiling and its price on cost are swept: see ``evals.rivals.field``. Its
state is its package's; only the choice for many requests at once is read from that state here (a
test holds it to the package's own ``route``). It starts cold, with the constants that the package
gives for that; the priors that it ships belong to an embedding model and to three models that a
world has not.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from evals.baselines.rewards import costs, inputs
from evals.replay import Brief, News, Player, PlayerMaker
from evals.rivals.packages import need
from evals.simulate import Served
from evals.worlds import Floats, Ints


@dataclass(frozen=True, kw_only=True, slots=True)
class Knobs:
    """Ceiling in USD per request, None for none, and the price on cost, 0..1 (0.3 as shipped)."""

    ceiling_usd: float | None
    cost_penalty: float


class ParetoBandit:
    """One router with a budget pacer; ``arms`` are the arms that stand as its models."""

    def __init__(
        self, brief: Brief, *, arms: Ints, arm_cost: Floats, knobs: Knobs, seed: int
    ) -> None:
        library = need("pareto_bandit", package="paretobandit")
        self._policy = need("pareto_bandit.policy", package="paretobandit")
        self._brief, self._arms = brief, arms
        self._names = [str(brief.arms[arm]) for arm in arms.tolist()]
        pacer = need("pareto_bandit.budget_pacer", package="paretobandit").BudgetPacer
        features = need("pareto_bandit.feature_service", package="paretobandit").FeatureService
        cold = need("pareto_bandit.config", package="paretobandit").BEST_K3_TABULA_RASA_HPARAMS
        # Its prices are per token; a request stands as a thousand tokens at the arm's mean cost.
        price = {name: 1000 * arm_cost[arm] for name, arm in zip(self._names, arms, strict=True)}
        self._router = library.BanditRouter.create(
            model_registry={
                name: {"input_cost_per_m": usd, "output_cost_per_m": usd}
                for name, usd in price.items()
            },
            feature_service=features.for_precomputed(
                len(brief.role_names) + brief.features_count + 1
            ),
            priors="none",
            alpha=cold["alpha"],
            forgetting_factor=cold["forgetting_factor"],
            cost_penalty=knobs.cost_penalty,
            budget_pacer=None if knobs.ceiling_usd is None else pacer(knobs.ceiling_usd),
            bandit_seed=seed,
        )

    @property
    def alarms(self) -> tuple[int, ...]:
        return ()

    @property
    def explored(self) -> None:
        return None

    @property
    def router(self) -> Any:
        """The package's router."""
        return self._router

    def inputs(self, roles: Ints, features: Floats) -> Floats:
        """The package's context: role indicators, features and a bias, (n, d)."""
        rows = inputs(self._brief, roles=roles, features=features)
        return np.column_stack([rows, np.ones(len(rows))])

    def probabilities(self, roles: Ints, features: Floats) -> Floats:
        asked = self.inputs(roles, features)
        bandit, eligible = self._router.bandit, self._eligible()
        penalties = self._penalties()
        scores = np.full((len(asked), len(self._names)), -np.inf)
        for index, name in enumerate(self._names):
            if name in eligible:
                variance = ((asked @ bandit.A_inv[name]) * asked).sum(axis=1)
                stale = self._policy._inflate_variance(  # the package's own rule for idle arms
                    1.0,
                    bandit.gamma,
                    bandit._effective_staleness(name),
                    max_staleness_dt=bandit.max_staleness_dt,
                    max_var_inflation=bandit.max_var_inflation,
                )
                spread = np.sqrt(np.maximum(variance * stale, 1e-12))
                scores[:, index] = asked @ bandit.theta[name] + bandit.alpha * spread
                scores[:, index] -= penalties.get(name, 0.0)
        return np.asarray(np.eye(len(self._brief.arms))[self._arms[scores.argmax(axis=1)]])

    def learn(self, served: Served, labelled: Served, *, news: News) -> None:
        asked = self.inputs(labelled.role, labelled.features)
        position = {arm: index for index, arm in enumerate(self._arms.tolist())}
        now = {int(number): row for row, number in enumerate(labelled.number)}
        cost = costs(self._brief, served, news=news)
        late = sorted(set(now) - set(served.number.tolist()))
        for number in late:
            self._feedback(asked, labelled, row=now[number], position=position)
        for row, number in enumerate(served.number.tolist()):
            self._router.bandit.mark_selected(self._names[position[int(served.arm[row])]])
            if number in now:
                self._feedback(asked, labelled, row=now[number], position=position)
            if self._router.budget_pacer is not None:
                self._router.budget_pacer.observe(float(cost[row]))

    def _feedback(
        self, asked: Floats, labelled: Served, *, row: int, position: dict[int, int]
    ) -> None:
        name = self._names[position[int(labelled.arm[row])]]
        self._router.update(name, asked[row], float(labelled.label[row]), advance_time=False)

    def _eligible(self) -> set[str]:
        """Models under the pacer's hard ceiling; all when none is."""
        router = self._router
        price = {name: router.registry[name]["blended_cost_per_m"] / 1000 for name in self._names}
        if router.budget_pacer is None:
            return set(price)
        ceiling = router.budget_pacer.get_cost_ceiling_per_1k(max(price.values()))
        found = {name for name, usd in price.items() if ceiling is None or usd <= ceiling}
        return found or set(price)

    def _penalties(self) -> dict[str, float]:
        """What each model's score loses to its cost: the fixed part and the pacer's."""
        router = self._router
        normal = {name: router._get_normalized_cost(name) for name in self._names}
        paced = (
            {}
            if router.budget_pacer is None
            else (router.budget_pacer.get_extra_cost_penalties(normal))
        )
        return {
            name: router.cost_penalty * usd + paced.get(name, 0.0) for name, usd in normal.items()
        }


def pareto(*, arms: Ints, arm_cost: Floats, knobs: Knobs) -> PlayerMaker:
    """A router with one setting of its knobs.

    ``arms`` are indices of the arms that stand as its models, ``arm_cost`` (all arms,) what each
    truly costs per request.
    """

    def make(brief: Brief, rng: np.random.Generator) -> Player:
        seed = int(rng.integers(2**31))
        return ParetoBandit(brief, arms=arms, arm_cost=arm_cost, knobs=knobs, seed=seed)

    return make
