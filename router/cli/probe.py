"""Ask a local port who it is; the answer must carry our name, because any server may say OK."""

import http.client
import json
from collections.abc import Mapping
from typing import Any

from router.listen import Address

ANSWER_BYTES_MAX = 1_048_576
SERVICE = "tierwise"


def livez(address: Address, *, timeout_seconds: float) -> dict[str, Any] | None:
    """Return what ``/livez`` at ``address`` says of itself, or None when no tierwise answers."""
    answer = _answer(address, timeout_seconds=timeout_seconds)
    return answer if answer is not None and answer.get("service") == SERVICE else None


def console_answers(address: Address, *, timeout_seconds: float) -> bool:
    """Say whether a console serves there; its port takes connections before its store is open."""
    answer = _answer(address, timeout_seconds=timeout_seconds)
    return answer is not None and answer.get("status") == "ok"


def models(address: Address, *, key: str, timeout_seconds: float) -> tuple[str, ...]:
    """Return the names that the gateway at ``address`` takes from this key; none if it says no."""
    authorization = {"authorization": f"Bearer {key}"}
    answer = _answer(address, "/v1/models", authorization, timeout_seconds=timeout_seconds)
    listed = (answer or {}).get("data")
    found = listed if isinstance(listed, list) else []
    return tuple(str(one["id"]) for one in found if isinstance(one, dict) and "id" in one)


def _answer(
    address: Address,
    path: str = "/livez",
    headers: Mapping[str, str] | None = None,
    *,
    timeout_seconds: float,
) -> dict[str, Any] | None:
    target = address.reachable
    link = http.client.HTTPConnection(target.host, target.port, timeout=timeout_seconds)
    try:
        link.request("GET", path, headers={"accept": "application/json", **(headers or {})})
        answer = json.loads(link.getresponse().read(ANSWER_BYTES_MAX))
    except (OSError, http.client.HTTPException, ValueError, RecursionError):
        return None
    finally:
        link.close()
    return answer if isinstance(answer, dict) else None
