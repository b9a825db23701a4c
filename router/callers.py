"""Who calls: client keys, looked up by digest so that no secret is compared or kept."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from router.config import KeyConfig
from telemetry.errors import ConfigError, PolicyDenied, Unauthorized

KEY_CHARACTERS_MIN = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Caller:
    """The holder of a client key."""

    name: str
    role: str | None
    roles: frozenset[str] | None  # None: every role
    budget: str | None

    def must_hold(self, role: str) -> None:
        """Raise ``PolicyDenied`` unless the key may use ``role``."""
        if self.roles is not None and role not in self.roles:
            raise PolicyDenied(
                "role_not_allowed",
                f"client key {self.name!r} may not use role {role!r}",
                hint=f"its roles: {', '.join(sorted(self.roles))}",
            )


class Callers:
    """All client keys; without any, everybody is nobody in particular."""

    def __init__(self, keys: Sequence[KeyConfig], environment: Mapping[str, str]) -> None:
        """Read the keys.

        Raises:
            ConfigError: a variable is unset, its key is short, or two names share one key.
        """
        self._by_digest: dict[bytes, Caller] = {}
        for key in keys:
            secret = environment.get(key.key_env, "")
            if len(secret) < KEY_CHARACTERS_MIN:
                raise ConfigError(
                    f"client key {key.name!r}: {key.key_env} is "
                    + ("unset" if not secret else f"under {KEY_CHARACTERS_MIN} characters"),
                    hint=f"export {key.key_env}=$(openssl rand -hex 24)",
                )
            digest = _digest(secret.encode())
            if digest in self._by_digest:
                raise ConfigError(
                    f"client keys {self._by_digest[digest].name!r} and {key.name!r} are the same",
                    hint="give each caller a key of its own",
                )
            self._by_digest[digest] = Caller(
                name=key.name,
                role=key.role,
                roles=None if key.roles is None else frozenset(key.roles),
                budget=key.budget,
            )

    def identify(self, authorization: bytes | None, api_key: bytes | None) -> Caller | None:
        """Return the caller; None when no client keys are configured.

        Raises:
            Unauthorized: a key is wanted and is missing or unknown.
        """
        if not self._by_digest:
            return None
        secret = api_key
        if authorization is not None and authorization[:7].lower() == b"bearer ":
            secret = authorization[7:].strip()
        if not secret:
            raise Unauthorized(
                "missing_key",
                "this gateway wants a client key",
                hint="send it as `Authorization: Bearer ...` or `x-api-key`",
            )
        caller = self._by_digest.get(_digest(secret))
        if caller is None:
            raise Unauthorized(
                "unknown_key",
                "the client key is not one of this gateway's",
                hint="provider keys stay on the gateway; ask its operator for a client key",
            )
        return caller


def _digest(secret: bytes) -> bytes:
    return hashlib.sha256(secret).digest()
