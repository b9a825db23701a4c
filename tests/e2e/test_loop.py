"""The loop through real processes: a tier is learned, breaks, is left, found again, alarms on cost.

`tierwise serve`, a stand-in provider, agents with an official client, a webhook that takes alerts.
"""

import pytest

from router.demo import loop
from router.demo.hook import Hook
from telemetry.clock import SystemClock


@pytest.mark.timeout(420)
async def test_a_broken_tier_is_left_with_an_alarm_and_found_again_and_a_dear_one_alarms() -> None:
    told = [one async for one in loop.story(SystemClock(), seed=11)]
    phases, hook = told[:-1], told[-1]
    assert isinstance(hook, Hook)
    learned, broken, well, wordy = phases
    assert isinstance(learned, loop.Phase)
    assert isinstance(broken, loop.Phase)
    assert isinstance(well, loop.Phase)
    assert isinstance(wordy, loop.Phase)
    assert all(phase.reached for phase in (learned, broken, well, wordy)), phases
    assert learned.small_share >= 0.5
    assert learned.quality >= loop.FLOOR
    assert broken.small_share <= 0.2
    assert broken.quality >= loop.FLOOR
    assert well.small_share >= 0.5
    assert well.quality >= loop.FLOOR
    # By how much depends on how far the tier between had come meanwhile.
    assert well.usd_per_thousand < broken.usd_per_thousand
    fired = [page.name for page in hook.pages if page.role == loop.ROLE and page.status == "firing"]
    assert fired.count("QualityLow") == 1
    assert fired.count("CostHigh") == 1
    assert fired.index("QualityLow") < fired.index("CostHigh")
