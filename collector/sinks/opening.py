"""Which sinks the policy names, how each is reached, and what is missing to open one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from collector.sinks.alertmanager import Alertmanager
from collector.sinks.chat import Chat, apprise_is_there
from collector.sinks.door import Door
from collector.sinks.grouping import SECOND_NS, Route, Style
from collector.sinks.otel import OtelLogs
from collector.sinks.pagerduty import URL, PagerDuty
from collector.sinks.sink import TRY_SECONDS, Sink
from collector.sinks.webhook import Webhook, secret_of
from telemetry.alerting import NotifyConfig
from telemetry.clock import Clock
from telemetry.config import EndpointConfig, TelemetryConfig
from telemetry.endpoints import Target, other_targets
from telemetry.errors import ConfigError
from telemetry.otlp import Signal
from telemetry.transport import open_transport

_STYLES: Final[dict[str, Style]] = {
    "webhook": "groups",
    "chat": "groups",
    "pagerduty": "incidents",
    "otel": "events",
    "alertmanager": "state",
}
_CHANGES: Final = frozenset({"pagerduty", "otel"})


def named(notify: Sequence[NotifyConfig]) -> dict[str, NotifyConfig]:
    """Return the sinks by name; one that has none is called by its kind, doubles get a number.

    >>> list(named([NotifyConfig(kind="otel"), NotifyConfig(kind="otel")]))
    ['otel', 'otel-2']
    """
    found: dict[str, NotifyConfig] = {}
    for config in notify:
        wanted = name = config.name or config.kind
        number = 1
        while name in found:
            number += 1
            name = f"{wanted}-{number}"
        found[name] = config
    return found


def route_of(name: str, config: NotifyConfig) -> Route:
    """Return how news reaches a sink."""
    words = {"change"} if config.kind in _CHANGES else set()
    if config.drift_report:
        words.add("report")
    style = _STYLES[config.kind]
    severities = config.severities
    if severities is None and config.kind == "pagerduty":
        severities = ("page", "ticket")
    route = Route(
        sink=name,
        style=style,
        words=frozenset(words),
        severities=None if severities is None else frozenset(severities),
        watchdog=config.watchdog or style in ("events", "state"),
    )
    if style != "groups":
        return route
    return replace(
        route,
        group_by=config.group_by,
        wait_ns=int(config.group_wait_seconds * SECOND_NS),
        interval_ns=int(config.group_interval_seconds * SECOND_NS),
        repeat_ns=int(config.repeat_hours * 3_600 * SECOND_NS),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Surroundings:
    """What sinks need beside the policy: the environment and the endpoints of tierwise.toml."""

    environment: Mapping[str, str]
    clock: Clock
    telemetry: TelemetryConfig


def secrets_of(config: NotifyConfig, environment: Mapping[str, str]) -> tuple[str | None, ...]:
    """Return what the environment holds for a sink: when it changes the sink is opened anew."""
    names = (config.url_env, config.secret_env)
    return tuple(None if name is None else environment.get(name) for name in names)


def open_sink(name: str, config: NotifyConfig, around: Surroundings) -> Sink:
    """Return the sink; call it inside a running loop.

    Raises:
        ConfigError: a variable is not set, a secret is none, a package or an endpoint is missing.
    """
    door = Door(allow_private=config.allow_private, clock=around.clock)
    console_url = config.console_url
    if config.kind == "otel":
        return _otel(config, around)
    if config.kind == "pagerduty":
        return PagerDuty(
            url=_read(config.url_env, around) or URL,
            routing_key=_needed(config.secret_env, around),
            console_url=console_url,
            door=door,
        )
    url = _needed(config.url_env, around)
    secret = _read(config.secret_env, around)
    if config.kind == "alertmanager":
        return Alertmanager(url=url, token=secret, console_url=console_url, door=door)
    if config.kind == "chat":
        if not apprise_is_there():
            raise ConfigError(
                "kind 'chat' needs the package apprise", hint="pip install 'tierwise[notify]'"
            )
        return Chat(url=url, allow_private=config.allow_private, console_url=console_url)
    signing = None
    if secret is not None:
        signing = secret_of(secret, source=config.secret_env or "")
    return Webhook(
        name=name, url=url, secret=signing, console_url=console_url, door=door, clock=around.clock
    )


def _otel(config: NotifyConfig, around: Surroundings) -> OtelLogs:
    if config.url_env is not None:
        endpoint = EndpointConfig(
            endpoint=_needed(config.url_env, around),
            protocol="http/protobuf",
            headers_env=config.secret_env,
        )
        only = TelemetryConfig(endpoints=(endpoint,))
        targets = other_targets(only, _without_otel(around.environment), collector=None)
    else:
        targets = other_targets(around.telemetry, around.environment, collector=None)
    found = [_for_logs(target) for target in targets if Signal.LOGS in target.addresses]
    if not found:
        raise ConfigError(
            "kind 'otel' finds no OTLP endpoint",
            hint="name one with url_env, in [[telemetry.endpoints]] or in OTEL_EXPORTER_OTLP_*",
        )
    return OtelLogs(transports=[open_transport(target, clock=around.clock) for target in found])


def _for_logs(target: Target) -> Target:
    return replace(target, timeout_seconds=min(target.timeout_seconds, TRY_SECONDS))


def _without_otel(environment: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in environment.items() if not key.startswith("OTEL_")}


def _read(variable: str | None, around: Surroundings) -> str | None:
    return None if variable is None else _needed(variable, around)


def _needed(variable: str | None, around: Surroundings) -> str:
    value = around.environment.get(variable or "", "").strip()
    if not value:
        raise ConfigError(
            f"alerts.notify: environment variable {variable} is not set",
            hint="set it for the collector and start it again",
        )
    return value
