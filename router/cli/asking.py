"""Questions to a running collector's console, and changes through it; the file is never opened."""

import http.client
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

from collector.config import CollectorConfig
from collector.reader import AWAY, ELSEWHERE, GATEWAYS, refusal_of, why
from router.listen import Address
from router.settings import Overrides, load_config
from telemetry.errors import TierwiseError

KEY: Final = "TIERWISE_KEY"  # the environment variable with one of the [[collector.keys]]
SECONDS: Final = 60.0
ANSWER_BYTES_MAX: Final = 64 * 1_048_576


class ConsoleAway(TierwiseError):
    """Nobody answers at the console's address, or not as a console would."""


class ConsoleRefused(TierwiseError):
    """The console answered no; message and hint are its own."""

    def __init__(self, message: str, *, hint: str, status: int) -> None:
        super().__init__(message, hint=hint)
        self.status = status


class Console:
    """The console at one address; every question is a connection of its own."""

    def __init__(self, address: str, *, key: str | None = None, seconds: float = SECONDS) -> None:
        """Ask ``address``, showing ``key`` or else what ``TIERWISE_KEY`` holds."""
        self._address = address
        self._key = os.environ.get(KEY, "") if key is None else key
        self._seconds = seconds

    @classmethod
    def of(cls, config: Path, *, console: str | None) -> "Console":
        """Return the console that a flag names, else tierwise.toml, else the default.

        Raises:
            ConfigError: the file or the flag is wrong.
        """
        if config.exists():
            return cls(load_config(config, Overrides(console=console)).collector.console)
        return cls(CollectorConfig().console if console is None else address(console))

    def get(self, path: str, query: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the answer to ``GET path``; absent values of ``query`` are left out.

        Raises:
            ConsoleAway, ConsoleRefused
        """
        asked = {key: value for key, value in (query or {}).items() if value is not None}
        return self._ask("GET", f"{path}?{urlencode(asked)}" if asked else path)

    def post(
        self, path: str, body: Mapping[str, Any], headers: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """Return the answer to ``POST path``; raises as ``get`` does."""
        return self._ask("POST", path, json.dumps(body).encode(), headers)

    def delete(self, path: str) -> dict[str, Any]:
        """Return the answer to ``DELETE path``; raises as ``get`` does."""
        return self._ask("DELETE", path)

    def _ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        more: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        host, _, port = self._address.rpartition(":")
        headers = dict(more or {})
        if self._key:
            headers["authorization"] = f"Bearer {self._key}"
        if body is not None:
            headers["content-type"] = "application/json"
        connection = http.client.HTTPConnection(host.strip("[]"), int(port), timeout=self._seconds)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            status, content = answer.status, answer.read(ANSWER_BYTES_MAX)
        except (OSError, http.client.HTTPException) as error:
            raise ConsoleAway(
                f"no collector answers on {self._address} ({why(error)})",
                hint=AWAY,
            ) from error
        finally:
            connection.close()
        if answer.getheader(GATEWAYS) is not None:
            raise ConsoleAway(
                f"no collector answers on {self._address} (a gateway does)", hint=AWAY
            )
        return self._read(status, content)

    def _read(self, status: int, content: bytes) -> dict[str, Any]:
        try:
            found = json.loads(content)
        except ValueError as error:
            raise ConsoleAway(
                f"{self._address} answered {status} without JSON", hint=ELSEWHERE
            ) from error
        if status < 300 and isinstance(found, dict):
            return found
        message, hint = refusal_of(found, status)
        raise ConsoleRefused(message, hint=hint, status=status)


def part(text: str) -> str:
    """Return one part of a path as it stands in a URL, whatever somebody typed."""
    return quote(text, safe="")


def address(console: str) -> str:
    """Return the flag's host:port; ConfigError unless it is one."""
    Address.parse(console, where="--console")
    return console
