"""The process behind chat and e-mail: reads one message from stdin, sends it, says how it went.

Nothing else runs here, so the network of the whole process may be narrowed for apprise: names lead
to allowed addresses only, redirects are not followed, time and memory end by force.
"""

import json
import logging
import os
import re
import resource
import signal
import socket
import sys
from collections.abc import Iterator
from typing import Any, Final

from collector.sinks.door import is_public

MEMORY_BYTES_MAX: Final = 1_073_741_824
_STATUS: Final = re.compile(r"error=([345]\d\d)\b")  # as apprise words a refusal
_look_up = socket.getaddrinfo


def main() -> int:
    """Send the message on stdin; the answer is one line of JSON on stdout."""
    asked = json.loads(sys.stdin.buffer.read())
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))
    log = _Last()
    logging.getLogger().addHandler(log)
    signal.signal(signal.SIGALRM, _late)
    guard = _Guard(allow_private=asked["allow_private"])
    socket.getaddrinfo = guard.look_up
    verdict, message = _send(asked, guard, log)
    _say(verdict, message)
    return 0


def _late(*_: object) -> None:
    """End the process: apprise catches exceptions, and may wait in threads of its own."""
    _say("retry", "no answer in time")
    os._exit(0)


def _say(verdict: str, message: str) -> None:
    sys.stdout.write(json.dumps({"verdict": verdict, "message": message}))
    sys.stdout.flush()


class _Last(logging.Handler):
    """Keeps the last status that apprise logged; its other words may hold secrets."""

    status: int | None = None

    def emit(self, record: logging.LogRecord) -> None:
        found = _STATUS.search(record.getMessage())
        if found is not None:
            self.status = int(found[1])


class _Guard:
    """Looks names up and keeps back what the sink may not call."""

    def __init__(self, *, allow_private: bool) -> None:
        self._allow_private = allow_private
        self.refused = False

    def look_up(self, *arguments: Any, **named: Any) -> list[Any]:
        found = _look_up(*arguments, **named)
        allowed = [one for one in found if self._allow_private or is_public(str(one[4][0]))]
        if found and not allowed:
            self.refused = True
            raise socket.gaierror(socket.EAI_FAIL, "the address is private")
        return list(allowed)


def _send(asked: dict[str, Any], guard: _Guard, log: _Last) -> tuple[str, str]:
    import apprise  # noqa: PLC0415 - an optional package, and after the limits are set
    import requests  # noqa: PLC0415 - comes with it

    requests.Session.resolve_redirects = _nowhere  # type: ignore[method-assign, assignment]
    service = apprise.Apprise(asset=apprise.AppriseAsset(http_redirects=False))
    if not service.add(asked["url"]):
        return "refused", "apprise does not know this kind of address"
    signal.setitimer(signal.ITIMER_REAL, asked["seconds"])
    try:
        told = service.notify(body=asked["body"], title=asked["title"])
    except MemoryError:
        return "refused", "the answer is larger than a gigabyte"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return _verdict(told=bool(told), guard=guard, status=log.status)


def _nowhere(*_: object, **__: object) -> Iterator[Any]:
    """Follow no redirect, whatever a service asks for."""
    return iter(())


def _verdict(*, told: bool, guard: _Guard, status: int | None) -> tuple[str, str]:
    """Return what became of it; apprise itself only says yes or no."""
    if told:
        return "accepted", ""
    if guard.refused:
        return "refused", "the address is private and allow_private is false"
    if status == 410:
        return "gone", "HTTP 410"
    if status is not None and status < 500 and status not in (408, 425, 429):
        return "refused", f"HTTP {status}"
    return "retry", "apprise could not deliver it" if status is None else f"HTTP {status}"


if __name__ == "__main__":
    raise SystemExit(main())
