"""Sinks are opened from the policy and the environment; what is missing is named."""

from typing import Any

import pytest
from pydantic import ValidationError

from collector.sinks import opening
from collector.sinks.opening import Surroundings, open_sink, route_of
from collector.sinks.otel import OtelLogs
from telemetry.alerting import NotifyConfig
from telemetry.clock import SystemClock
from telemetry.config import EndpointConfig, TelemetryConfig
from telemetry.errors import ConfigError


def around(*endpoints: str, **environment: str) -> Surroundings:
    telemetry = TelemetryConfig(
        endpoints=tuple(EndpointConfig(endpoint=one, protocol="http/protobuf") for one in endpoints)
    )
    return Surroundings(environment=environment, clock=SystemClock(), telemetry=telemetry)


@pytest.mark.parametrize(
    ("table", "fault"),
    [
        ({"kind": "webhook"}, "needs url_env"),
        ({"kind": "chat"}, "needs url_env"),
        ({"kind": "alertmanager"}, "needs url_env"),
        ({"kind": "pagerduty", "url_env": "U"}, "needs secret_env"),
        ({"kind": "pagerduty", "secret_env": "K", "drift_report": True}, "cannot carry"),
        ({"kind": "otel", "name": "Not A Name"}, "pattern"),
        ({"kind": "opsgenie", "url_env": "U"}, "Input should be"),
    ],
)
def test_a_table_that_cannot_work_is_refused(table: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        NotifyConfig.model_validate(table)


async def test_chat_without_its_package_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(opening, "apprise_is_there", lambda: False)
    config = NotifyConfig(kind="chat", url_env="URL")
    with pytest.raises(ConfigError) as caught:
        open_sink("chat", config, around(URL="json://127.0.0.1"))
    assert "tierwise[notify]" in caught.value.hint


async def test_log_events_go_to_every_configured_endpoint() -> None:
    config = NotifyConfig(kind="otel")
    own = around("http://127.0.0.1:1", OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:2")
    sink = open_sink("otel", config, own)
    assert isinstance(sink, OtelLogs)
    assert len(sink.transports) == 2
    await sink.close()
    only = NotifyConfig(kind="otel", url_env="URL")
    named = open_sink(
        "otel",
        only,
        around(
            "http://127.0.0.1:1", URL="http://127.0.0.1:3", OTEL_EXPORTER_OTLP_ENDPOINT="http://x"
        ),
    )
    assert isinstance(named, OtelLogs)
    assert len(named.transports) == 1
    await named.close()
    with pytest.raises(ConfigError, match="no OTLP endpoint"):
        open_sink("otel", config, around())


def test_times_of_the_policy_become_those_of_the_route() -> None:
    config = NotifyConfig(
        kind="webhook", url_env="U", group_wait_seconds=1.5, repeat_hours=2, drift_report=True
    )
    route = route_of("hook", config)
    assert (route.wait_ns, route.interval_ns) == (1_500_000_000, 300_000_000_000)
    assert route.repeat_ns == 7_200_000_000_000
    assert route.words == {"report"}
