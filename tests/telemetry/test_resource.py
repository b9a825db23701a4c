import uuid

import pytest

from telemetry.resource import resource


def test_the_service_is_called_tierwise_and_the_process_has_an_id(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("OTEL_SERVICE_NAME", raising=False)
    monkeypatch.delenv("OTEL_RESOURCE_ATTRIBUTES", raising=False)
    attributes = resource(worker="0")
    assert attributes["service.name"] == "tierwise"
    assert uuid.UUID(str(attributes["service.instance.id"])).version == 4


def test_the_environment_names_the_service_and_adds_attributes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "support-router")
    monkeypatch.setenv(
        "OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=prod,service.instance.id=pod-7"
    )
    attributes = resource(worker="1")
    assert attributes["service.name"] == "support-router"
    assert attributes["deployment.environment.name"] == "prod"
    assert attributes["service.instance.id"] == "pod-7-1"
