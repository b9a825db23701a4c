"""The tables of tierwise.toml that say where spans go and what tokens cost."""

from typing import Annotated, Literal

from pydantic import Field

from telemetry.configfile import Section

Protocol = Literal["http/protobuf", "grpc"]
Dollars = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class EndpointConfig(Section):
    """One more OTLP endpoint that gets every span the caller wants sampled."""

    endpoint: str = Field(description="base URL; `/v1/traces` is added for HTTP")
    protocol: Protocol = Field("http/protobuf", description="OTLP over HTTP or over gRPC")
    gzip: bool = Field(False, description="compress requests: about a thirtieth of the bytes")
    headers_env: str | None = Field(
        None,
        description="environment variable that holds extra headers as `key=value,key=value`",
    )


class TelemetryConfig(Section):
    """Spans, metrics and what may stand in them."""

    protocol: Protocol = Field(
        "http/protobuf",
        description="how steps reach the collector: at its `otlp_http`, or at its `otlp_grpc`",
    )
    endpoints: tuple[EndpointConfig, ...] = Field(
        (), description="OTLP endpoints beside the collector", max_length=64
    )
    baggage: tuple[str, ...] = Field(
        (), description="W3C baggage keys that are copied onto the route span", max_length=16
    )
    content: bool = Field(
        False, description="record prompt and answer text on attempt spans; off unless you say so"
    )
    content_bytes_max: int = Field(
        16_384, ge=256, le=1_048_576, description="longest text recorded per body"
    )
    queue_spans: int = Field(
        16_384, ge=512, le=262_144, description="spans waiting in memory; more are dropped, counted"
    )
    spool_mb: int = Field(
        256, ge=0, le=16_384, description="disk kept for spans while the collector is away"
    )


class PriceConfig(Section):
    """US dollars for one million tokens, and for one request."""

    input: Dollars = Field(description="per million input tokens that no cache served")
    output: Dollars = Field(description="per million output tokens")
    cache_read: Dollars | None = Field(
        None, description="per million cached input tokens; the input price when absent"
    )
    cache_write: Dollars | None = Field(
        None, description="per million tokens written to the cache; the input price when absent"
    )
    request: Dollars = Field(0.0, description="per request")
