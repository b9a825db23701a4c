"""Who sends: the OpenTelemetry resource of one worker process."""

import random
import uuid
from collections.abc import Mapping

from opentelemetry.sdk.resources import Resource

from telemetry import names

SERVICE_NAME = "service.name"
INSTANCE_ID = "service.instance.id"


def resource(rng: random.Random, *, worker: str) -> Mapping[str, object]:
    """Return the resource's attributes.

    OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES count as in any OpenTelemetry SDK; the
    service is called `tierwise` otherwise. The instance id differs between workers even where
    the environment names one, because two senders of one cumulative metric may not share it.
    """
    attributes = dict(Resource.create().attributes)
    if str(attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
        attributes[SERVICE_NAME] = names.SERVICE
    given = attributes.get(INSTANCE_ID)
    drawn = str(uuid.UUID(int=rng.getrandbits(128), version=4))
    attributes[INSTANCE_ID] = f"{given}-{worker}" if given else drawn
    return attributes
