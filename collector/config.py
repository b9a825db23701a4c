"""The `[collector]` table of tierwise.toml."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from telemetry.configfile import EnvName, Section

# Names that changes are recorded under when no key was shown.
NAMES_TAKEN = ("local", "anybody", "learner", "expiry")


class AccessKeyConfig(Section):
    """One key for the console's API: who shows it, and what it opens."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.@-]{0,63}$")] = Field(
        description="stands in revisions and in the audit log instead of the key"
    )
    key_env: EnvName = Field(description="environment variable that holds the key")
    access: Literal["viewer", "approver", "analytics"] = Field(
        description="viewer reads all, approver also changes the policy, "
        "analytics reads only sums over roles and time"
    )


class CollectorConfig(Section):
    """Where the collector listens and keeps its file."""

    otlp_http: str = Field("127.0.0.1:4318", description="host:port for OTLP over HTTP")
    otlp_grpc: str = Field("127.0.0.1:4317", description="host:port for OTLP over gRPC")
    console: str = Field("127.0.0.1:8081", description="host:port for the API and its pages")
    store: Path = Field(Path(".tierwise/tierwise.duckdb"), description="the DuckDB file")
    token_env: str | None = Field(
        None, description="environment variable with the bearer token that OTLP senders must show"
    )
    queue_spans: int = Field(
        65_536, ge=1_024, le=1_048_576, description="spans waiting for the store; more get 503"
    )
    body_mb_max: int = Field(
        64, ge=1, le=512, description="largest OTLP body, before and after decompression"
    )
    feedback_per_hour: int = Field(
        36_000,
        ge=1,
        le=100_000_000,
        description="pieces of feedback kept in an hour of one source that shows no token; "
        "more get 429",
    )
    content: bool = Field(
        False,
        description="keep the bodies of log records, and the text of calls that our gateway sends "
        "with telemetry.content; off unless you say so",
    )
    spans_days: int = Field(
        30, ge=1, le=3_650, description="how long spans and log records are kept"
    )
    calls_days: int = Field(
        400, ge=1, le=3_650, description="how long calls, decisions and evaluations are kept"
    )
    memory_mb: int = Field(
        1_024, ge=128, le=262_144, description="memory that DuckDB may take; beyond it, it spills"
    )
    threads: int = Field(2, ge=1, le=64, description="threads that DuckDB may use")
    keys: tuple[AccessKeyConfig, ...] = Field(
        (), description="keys of people and programs that use the API", max_length=1_000
    )

    @model_validator(mode="after")
    def _keys_are_told_apart(self) -> Self:
        names = [key.name for key in self.keys]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"keys: two keys are called {name!r}")
            if name in NAMES_TAKEN:
                raise ValueError(f"keys: {name!r} stands for something else in the audit log")
        if self.keys and self.token_env is None:
            raise ValueError(
                "keys: token_env is missing; gateways and senders show that token, and without "
                "one anybody could send the evidence that moves the policy"
            )
        return self
