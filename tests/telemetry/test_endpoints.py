import pytest

from telemetry.config import EndpointConfig, TelemetryConfig
from telemetry.endpoints import collector_target, other_targets, parse_headers
from telemetry.errors import ConfigError
from telemetry.otlp import Signal

EVERYWHERE = "http://otel.example:4318"


def test_the_collector_gets_everything_at_its_three_paths() -> None:
    target = collector_target("http://127.0.0.1:4318/", token="t")
    assert target.everything
    assert target.addresses == {
        Signal.TRACES: "http://127.0.0.1:4318/v1/traces",
        Signal.LOGS: "http://127.0.0.1:4318/v1/logs",
        Signal.METRICS: "http://127.0.0.1:4318/v1/metrics",
    }
    assert target.headers == {"authorization": "Bearer t"}


def test_the_collector_may_be_reached_over_grpc() -> None:
    target = collector_target("http://127.0.0.1:4317", token="t", protocol="grpc")
    assert (target.protocol, target.everything) == ("grpc", True)
    assert set(target.addresses.values()) == {"http://127.0.0.1:4317"}
    assert target.headers == {"authorization": "Bearer t"}


def test_an_endpoint_of_the_file_may_be_sent_compressed_requests() -> None:
    entry = EndpointConfig(endpoint=EVERYWHERE, gzip=True)
    (target,) = other_targets(TelemetryConfig(endpoints=(entry,)), {}, collector=None)
    assert target.gzip


def test_endpoints_of_the_file_take_their_headers_from_the_environment() -> None:
    entry = EndpointConfig(endpoint="https://otel.example/base", headers_env="KEYS")
    config = TelemetryConfig(endpoints=(entry,))
    (target,) = other_targets(config, {"KEYS": "x-api-key=a%3Db, X-Team=ops"}, collector=None)
    assert target.name == "otel.example"
    assert target.addresses[Signal.TRACES] == "https://otel.example/base/v1/traces"
    assert target.headers == {"x-api-key": "a=b", "x-team": "ops"}
    assert not target.everything
    assert "a=b" not in repr(target)


def test_a_header_variable_that_is_not_set_is_named() -> None:
    config = TelemetryConfig(endpoints=(EndpointConfig(endpoint=EVERYWHERE, headers_env="KEYS"),))
    with pytest.raises(ConfigError, match="KEYS is not set; set it or remove headers_env"):
        other_targets(config, {}, collector=None)


def test_the_standard_endpoint_variable_adds_a_target_for_all_signals() -> None:
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": EVERYWHERE}
    (target,) = other_targets(TelemetryConfig(), env, collector=None)
    assert target.protocol == "http/protobuf"
    assert target.addresses[Signal.LOGS] == f"{EVERYWHERE}/v1/logs"
    assert not target.gzip


def test_a_signals_own_endpoint_is_taken_as_it_stands() -> None:
    env = {
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://traces.example/custom",
        "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "k=traces",
        "OTEL_EXPORTER_OTLP_HEADERS": "k=all",
        "OTEL_EXPORTER_OTLP_ENDPOINT": EVERYWHERE,
        "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
    }
    traces, others = other_targets(TelemetryConfig(), env, collector=None)
    assert traces.addresses == {Signal.TRACES: "https://traces.example/custom"}
    assert traces.headers == {"k": "traces"}
    assert set(others.addresses) == {Signal.LOGS, Signal.METRICS}
    assert others.headers == {"k": "all"}
    assert traces.gzip
    assert others.gzip


def test_grpc_from_the_environment_calls_the_address_itself() -> None:
    env = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4317",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
    }
    (target,) = other_targets(TelemetryConfig(), env, collector=None)
    assert target.protocol == "grpc"
    assert target.addresses[Signal.TRACES] == "http://127.0.0.1:4317"


def test_the_collectors_own_address_in_the_environment_is_not_sent_to_twice() -> None:
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}
    own = collector_target("http://127.0.0.1:4318")
    assert other_targets(TelemetryConfig(), env, collector=own) == []


@pytest.mark.parametrize("address", ["127.0.0.1:4318", "ftp://host", "http://", "", "unix:/x"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="not an http or https address"):
        collector_target(address)


def test_a_protocol_that_is_not_spoken_is_refused() -> None:
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": EVERYWHERE, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"}
    with pytest.raises(ConfigError, match="http/json"):
        other_targets(TelemetryConfig(), env, collector=None)


@pytest.mark.parametrize("text", ["secret", "=secret", "a b=secret", "k=secret%0d%0ax"])
def test_a_malformed_header_list_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(ConfigError, match="KEYS") as caught:
        parse_headers(text, source="KEYS")
    assert "secret" not in str(caught.value)
