"""The `[learning]` table of policy.toml: how far and how fast a learned policy may move."""

from typing import Annotated, Literal

from pydantic import Field

from telemetry.configfile import Section

# graded answers that a role spends on trying a new model; the replay harness takes the same number
CANARY_LABELS = 500

Share = Annotated[float, Field(gt=0, le=1)]


class LearningConfig(Section):
    """Limits of what is learned; moves in the safe direction never wait for them."""

    tick_seconds: float = Field(
        10.0, ge=0.2, le=3_600, description="how often the collector looks at new outcomes"
    )
    step_max: Share = Field(
        0.2, description="share of a role's steps that one revision may move to cheaper arms"
    )
    dwell_seconds: float = Field(
        300.0,
        ge=0,
        le=604_800,
        description="time between two revisions that move a role to cheaper arms",
    )
    rollout: Share = Field(
        1.0, description="share of sessions that get a new revision, always the same sessions"
    )
    history_days: int = Field(
        28, ge=1, le=400, description="how far back outcomes count as evidence"
    )
    canary_labels: int = Field(
        CANARY_LABELS,
        ge=0,
        le=1_000_000,
        description="graded answers that exploration may spend, in each role, on a tier that is "
        "new to it or another version of a tier's model; then it gets no more than keeps it alive "
        "until it is proven. 0: no trial",
    )
    labels: Literal["authenticated", "anyone"] = Field(
        "authenticated",
        description="whose words on quality may justify a cheaper move: of senders that showed the "
        "collector's token or a client key, or of anyone who reaches it",
    )
    checks_grade: bool = Field(
        False,
        description="whether an answer that passes its checks counts as good in roles that "
        "nobody else grades",
    )
