"""The `[collector]` table of tierwise.toml."""

from pathlib import Path

from pydantic import Field

from telemetry.configfile import Section


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
    content: bool = Field(
        False, description="keep the bodies of log records; off unless you say so"
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
