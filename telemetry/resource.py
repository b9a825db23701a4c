"""Who sends: the OpenTelemetry resource of one worker process."""

from collections.abc import Mapping

from opentelemetry.sdk.resources import OTELResourceDetector, Resource

from telemetry import names

SERVICE_NAME = "service.name"
INSTANCE_ID = "service.instance.id"


def resource(*, worker: str) -> Mapping[str, object]:
    """Return the resource's attributes.

    OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES count as in any OpenTelemetry SDK; the
    service is called `tierwise` otherwise. The SDK draws an instance id for each process; where
    the environment names one, the worker's name is added, because two senders of one cumulative
    metric may not share it.
    """
    attributes = dict(Resource.create().attributes)
    if str(attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
        attributes[SERVICE_NAME] = names.SERVICE
    given = OTELResourceDetector().detect().attributes.get(INSTANCE_ID)
    if given:
        attributes[INSTANCE_ID] = f"{given}-{worker}"
    return attributes
