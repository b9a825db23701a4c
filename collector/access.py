"""The bearer token that senders must show, if one is configured."""

import hmac
import os

from telemetry.errors import ConfigError


class Access:
    """Compares tokens in constant time; without one configured, everybody may send."""

    def __init__(self, token: str | None) -> None:
        self._expected = None if token is None else f"Bearer {token}".encode()

    @classmethod
    def from_env(cls, name: str | None) -> "Access":
        """Read the token from the environment variable ``name``.

        Raises:
            ConfigError: the variable is named but not set.
        """
        if name is None:
            return cls(None)
        token = os.environ.get(name, "")
        if not token:
            raise ConfigError(
                f"collector.token_env names {name}, which is not set",
                hint=f"set {name} or remove the key",
            )
        return cls(token)

    @property
    def required(self) -> bool:
        return self._expected is not None

    def allows(self, authorization: bytes) -> bool:
        """Say whether the Authorization header's value is the right one."""
        return self._expected is None or hmac.compare_digest(authorization, self._expected)
