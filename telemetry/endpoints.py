"""Where spans go: the collector, the endpoints of tierwise.toml and those of the environment.

The environment's names are those of the OpenTelemetry specification ("OpenTelemetry Protocol
Exporter"), so a process that already exports elsewhere needs no further setting.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote, urlsplit

from telemetry.config import Protocol, TelemetryConfig
from telemetry.errors import ConfigError
from telemetry.otlp import Signal

COLLECTOR: Final = "collector"
TIMEOUT_SECONDS: Final = 10.0
_VARIABLE = "OTEL_EXPORTER_OTLP_"


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """One OTLP endpoint; a signal without an address is not sent there."""

    name: str  # as metrics and logs call it: collector, or host:port
    protocol: Protocol = "http/protobuf"
    addresses: Mapping[Signal, str]  # whole URLs
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)  # may hold secrets
    gzip: bool = False
    timeout_seconds: float = TIMEOUT_SECONDS
    everything: bool = False  # also what the caller did not want sampled


def collector_target(
    address: str, *, token: str | None = None, protocol: Protocol = "http/protobuf"
) -> Target:
    """Return the collector at ``address``, which takes ``protocol`` there and gets every step."""
    return Target(
        name=COLLECTOR,
        protocol=protocol,
        addresses=_below(address, protocol),
        headers={"authorization": f"Bearer {token}"} if token else {},
        everything=True,
    )


def other_targets(
    config: TelemetryConfig, env: Mapping[str, str], *, collector: Target | None
) -> list[Target]:
    """Return the endpoints beside the collector, from the file and from the environment.

    An address of the environment that is the collector's own is left out: it gets all already.

    Raises:
        ConfigError: an address, a protocol or a header list cannot be used.
    """
    targets = []
    for entry in config.endpoints:
        headers = env.get(entry.headers_env, "") if entry.headers_env else ""
        if entry.headers_env and entry.headers_env not in env:
            raise ConfigError(
                f"telemetry.endpoints: {entry.endpoint}: environment variable "
                f"{entry.headers_env} is not set",
                hint="set it or remove headers_env",
            )
        targets.append(
            Target(
                name=_name(entry.endpoint),
                protocol=entry.protocol,
                addresses=_below(entry.endpoint, entry.protocol),
                headers=parse_headers(headers, source=entry.headers_env or ""),
                gzip=entry.gzip,
            )
        )
    own = set(collector.addresses.values()) if collector else set()
    targets += [t for t in _environment_targets(env) if not own & set(t.addresses.values())]
    return targets


def parse_headers(text: str, *, source: str) -> dict[str, str]:
    """Return `key=value,key=value` (values percent-encoded) as headers; keys in lower case.

    Raises:
        ConfigError: naming ``source`` but never the text, which may hold a secret.
    """
    headers = {}
    for member in filter(None, (part.strip() for part in text.split(","))):
        key, equals, value = member.partition("=")
        key, value = key.strip().lower(), unquote(value.strip())
        if not equals or not key.isascii() or not key.replace("-", "").replace("_", "").isalnum():
            raise ConfigError(
                f"{source}: not a list of key=value,key=value",
                hint="for example api-key=abc,x-scope=team",
            )
        if not value.isascii() or not value.isprintable():
            raise ConfigError(
                f"{source}: the value of {key} cannot stand in a header",
                hint="printable ASCII, percent-encoded where it has a comma or a space",
            )
        headers[key] = value
    return headers


def _environment_targets(env: Mapping[str, str]) -> list[Target]:
    """Return one target per protocol, headers and host that the OTEL_* variables name."""
    base = env.get(f"{_VARIABLE}ENDPOINT")
    merged: dict[tuple[str, Protocol, str, bool], dict[Signal, str]] = {}
    for signal in Signal:
        own = env.get(f"{_VARIABLE}{signal.upper()}_ENDPOINT")
        if not own and not base:
            continue
        protocol = _protocol(_setting(env, signal, "PROTOCOL") or "http/protobuf")
        address = own or _below(base or "", protocol)[signal]
        headers = _setting(env, signal, "HEADERS") or ""
        zipped = _setting(env, signal, "COMPRESSION") == "gzip"
        name = _name(address)
        merged.setdefault((name, protocol, headers, zipped), {})[signal] = address
    return [
        Target(
            name=name,
            protocol=protocol,
            addresses=addresses,
            headers=parse_headers(headers, source=f"{_VARIABLE}HEADERS"),
            gzip=zipped,
        )
        for (name, protocol, headers, zipped), addresses in merged.items()
    ]


def _setting(env: Mapping[str, str], signal: Signal, name: str) -> str | None:
    return env.get(f"{_VARIABLE}{signal.upper()}_{name}") or env.get(f"{_VARIABLE}{name}")


def _protocol(text: str) -> Protocol:
    if text == "grpc":
        return "grpc"
    if text == "http/protobuf":
        return "http/protobuf"
    raise ConfigError(
        f"{_VARIABLE}PROTOCOL: {text!r} is not spoken here", hint="use http/protobuf or grpc"
    )


def _below(address: str, protocol: Protocol) -> dict[Signal, str]:
    _name(address)
    if protocol == "grpc":
        return {signal: address for signal in Signal}
    return {signal: f"{address.rstrip('/')}/v1/{signal}" for signal in Signal}


def _name(address: str) -> str:
    """Return host:port of an address, for people; raise ``ConfigError`` when it is no address."""
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(
            f"telemetry endpoint {address!r} is not an http or https address",
            hint="for example http://127.0.0.1:4318, and http://127.0.0.1:4317 for gRPC",
        )
    return parts.netloc.rpartition("@")[2]
