"""tierwise.toml: where to listen, which providers there are, what they cost, who may call."""

import re
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, field_validator, model_validator

from collector.config import CollectorConfig
from telemetry.config import PriceConfig, TelemetryConfig
from telemetry.configfile import EnvName, Section
from telemetry.records import Dialect

OURS = "tierwise"
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")

# Headers that a table of fixed headers may not hold, and what to do instead.
_HEADERS_REFUSED = {
    "authorization": "a key belongs in the variable that key_env names",
    "x-api-key": "a key belongs in the variable that key_env names",
    "host": "it follows from base_url",
    "content-length": "it follows from the body",
    "content-type": "it is always application/json",
    "transfer-encoding": "it follows from the body",
    "connection": "connections are the gateway's affair",
}


def _name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ValueError(
            f"{value!r} is not a name: up to 64 of a-z, 0-9, '.', '_' and '-', "
            "and the first a letter or digit"
        )
    return value


def _header(name: str, value: str) -> None:
    if not _HEADER_NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not a header name")
    if not (value.isascii() and value.isprintable()):
        raise ValueError(f"the value of {name!r} is not printable ASCII")
    if name.lower() in _HEADERS_REFUSED:
        raise ValueError(f"{name!r} cannot be set here: {_HEADERS_REFUSED[name.lower()]}")


def _listen(value: str) -> str:
    host, _, port = value.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65_535:
        raise ValueError(f"{value!r} is not host:port, for example 127.0.0.1:8080")
    return value


def _base_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("is not an http or https address, such as https://api.openai.com/v1")
    if parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError("no query, fragment or password belongs in a base URL; keys go in key_env")
    try:
        _ = parts.port
    except ValueError:
        raise ValueError("its port is not a number from 0 to 65535") from None
    return value.rstrip("/")


Name = Annotated[str, AfterValidator(_name)]
Listen = Annotated[str, AfterValidator(_listen)]
BaseUrl = Annotated[str, AfterValidator(_base_url)]


class TimeoutsConfig(Section):
    """How long a provider or a caller may keep us waiting; a stream has no total limit."""

    connect_seconds: float = Field(2.0, gt=0, le=60, description="to connect")
    first_byte_seconds: float = Field(120.0, gt=0, le=3600, description="to the answer's headers")
    idle_seconds: float = Field(60.0, gt=0, le=3600, description="between two pieces of an answer")
    head_seconds: float = Field(
        10.0, gt=0, le=600, description="for a caller to send a request's head"
    )
    body_seconds: float = Field(30.0, gt=0, le=600, description="for a caller to send its body")
    write_seconds: float = Field(
        60.0, gt=0, le=3600, description="for a caller to take any of what is written to it"
    )


class GatewayConfig(Section):
    """The process that agents call."""

    listen: Listen = Field("127.0.0.1:8080", description="host:port of the gateway")
    workers: int = Field(1, ge=1, le=64, description="gateway processes")
    body_mb_max: int = Field(32, ge=1, le=512, description="largest request body")
    steps_max: int = Field(2_048, ge=1, le=65_536, description="steps in flight per worker")
    connections_max: int = Field(
        8_192, ge=1, le=65_536, description="connections of callers per worker; more get 503"
    )
    upstream_connections_max: int = Field(
        1_024, ge=1, le=65_536, description="connections to providers per worker"
    )
    drain_seconds: float = Field(
        30.0, ge=0, le=600, description="how long steps may finish after SIGTERM"
    )
    anonymous: bool = Field(
        False, description="serve callers without a client key on an address other than loopback"
    )
    timeouts: TimeoutsConfig = Field(default_factory=TimeoutsConfig)


class ProviderConfig(Section):
    """One place that serves models."""

    base_url: BaseUrl = Field(
        description="what stands before /chat/completions, /responses or /messages; "
        "an address without a path gets /v1"
    )
    dialects: tuple[Dialect, ...] = Field(
        description="wire formats it speaks: chat, responses, messages, embeddings", min_length=1
    )
    key_env: EnvName | None = Field(
        None, description="environment variable that holds its key; none for a local model"
    )
    auth: Literal["bearer", "x-api-key"] | None = Field(
        None,
        description="how the key is sent; x-api-key for the messages dialect, else bearer",
    )
    system: str | None = Field(
        None, description="`gen_ai.provider.name` on spans; the provider's name here when absent"
    )
    headers: dict[str, str] = Field(
        default_factory=dict, description="further headers sent with each call; no secrets"
    )
    stream_usage: bool = Field(
        True, description="ask for usage on chat streams; false for servers that refuse the option"
    )

    @field_validator("headers")
    @classmethod
    def _sendable(cls, headers: dict[str, str]) -> dict[str, str]:
        for name, value in headers.items():
            _header(name, value)
        return headers


class KeyConfig(Section):
    """One client key: who calls, and as which roles."""

    name: Name = Field(description="stands in spans and budgets instead of the key")
    key_env: EnvName = Field(description="environment variable that holds the key")
    role: Name | None = Field(None, description="role of steps that name none")
    roles: tuple[Name, ...] | None = Field(None, description="roles it may use; all when absent")
    budget: Name | None = Field(None, description="budget scope that its spend counts towards")


class Config(Section):
    """tierwise.toml, whole."""

    schema_: Literal[1] = Field(alias="schema", description="version of the file's format")
    state_dir: Path = Field(
        Path(".tierwise"), description="spool, last good revision, store; relative to this file"
    )
    gateway: GatewayConfig = Field(default_factory=GatewayConfig)
    collector: CollectorConfig = Field(default_factory=CollectorConfig)
    telemetry: TelemetryConfig = Field(default_factory=TelemetryConfig)
    providers: dict[Name, ProviderConfig] = Field(
        description="tables of providers, one per name", min_length=1
    )
    prices: dict[str, PriceConfig] = Field(
        default_factory=dict, description="prices by model, as provider/model; before the catalogue"
    )
    keys: tuple[KeyConfig, ...] = Field((), description="client keys", max_length=1_000)

    @field_validator("providers")
    @classmethod
    def _not_our_name(cls, providers: dict[str, ProviderConfig]) -> dict[str, ProviderConfig]:
        if OURS in providers:
            raise ValueError(f"{OURS}/... are the aliases of roles; call the provider otherwise")
        return providers

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [key.name for key in self.keys]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two client keys are called {name!r}")
        for model in self.prices:
            provider = model.partition("/")[0]
            if provider not in self.providers:
                raise ValueError(
                    f"prices: {model!r} names no provider; known: {', '.join(self.providers)}"
                )
        host = self.gateway.listen.rpartition(":")[0]
        if not self.keys and not self.gateway.anonymous and not is_loopback(host):
            raise ValueError(
                f"gateway.listen: {host} is reachable from other machines but no client key is "
                "configured; add a [[keys]] table or set gateway.anonymous = true"
            )
        return self


def is_loopback(host: str) -> bool:
    """Say whether only this machine can reach ``host``."""
    return host in ("localhost", "[::1]", "::1") or bool(re.fullmatch(r"127(\.\d+){3}", host))
