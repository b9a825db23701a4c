"""What policies without a floor maximise: quality less a price on cost."""

import numpy as np

from evals.replay import Brief, News
from evals.simulate import Served
from evals.worlds import Floats, Ints

COST_WEIGHT = 0.3  # what always-top's cost is worth in points of quality


def costs(brief: Brief, served: Served, *, news: News) -> Floats:
    """USD of each served request at the prices in force, (n,)."""
    paths = [[brief.tiers.index(tier) for tier in path] for path in brief.chains]
    longest = served.usage.shape[1]
    prices = np.array([[*news.price[path], *[0.0] * (longest - len(path))] for path in paths])
    return np.asarray((served.usage * prices[served.arm]).sum(axis=1))


def rewards(brief: Brief, labelled: Served, *, news: News) -> Floats:
    """Quality - 0.3 cost of each labelled request, cost as a share of always-top, (n,)."""
    cost = costs(brief, labelled, news=news) / brief.tier_cost[-1]
    return np.asarray(labelled.label - COST_WEIGHT * cost)


def inputs(brief: Brief, *, roles: Ints, features: Floats) -> Floats:
    """Role indicators and features side by side, (n, d)."""
    return np.hstack([np.eye(len(brief.role_names))[roles], features])
