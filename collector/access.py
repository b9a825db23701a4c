"""Who may send, read and change: one token for senders, named keys for people and programs.

Without keys everybody who reaches the console reads it, and whoever sits at its machine may change
the policy as `local`. With keys, nothing under /api/ is answered without one.
"""

import hmac
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from collector.config import AccessKeyConfig
from telemetry.errors import ConfigError

LOCAL: Final = "local"  # the author of changes made without keys, from the collector's machine
ANYBODY: Final = "anybody"
# What is said where the senders' token was wanted and another word, or none, came; what to do.
STRANGER: Final = "this is not the collector's token"
TOKEN: Final = "send what the collector's token_env holds, as Authorization: Bearer TOKEN"


class Level(IntEnum):
    """What a key opens; each level includes the ones below it."""

    ANALYTICS = 1  # sums over roles and time
    VIEWER = 2  # everything there is to read
    APPROVER = 3  # changes of the policy

    @property
    def word(self) -> str:
        return self.name.lower()


@dataclass(frozen=True, kw_only=True, slots=True)
class Person:
    """Somebody, by the name of the key that was shown."""

    name: str
    level: Level


@dataclass(frozen=True, kw_only=True, slots=True)
class Key:
    """One configured key with its secret."""

    name: str
    level: Level
    secret: str


class Access:
    """Compares tokens in constant time; without one configured, everybody may send."""

    def __init__(
        self, token: str | None, *, keys: Sequence[Key] = (), loopback: bool = True
    ) -> None:
        """``loopback`` says whether only the collector's own machine reaches the console."""
        self._expected = None if token is None else _shown(token)
        self._keys = [(_shown(key.secret), Person(name=key.name, level=key.level)) for key in keys]
        self._loopback = loopback

    @classmethod
    def from_env(
        cls,
        name: str | None,
        *,
        keys: Sequence[AccessKeyConfig] = (),
        console: str = "127.0.0.1:8081",
    ) -> "Access":
        """Read the token from the environment variable ``name``, and the secrets of ``keys``.

        Raises:
            ConfigError: a variable is named but not set, or two secrets are the same.
        """
        token = None if name is None else _secret(name, "collector.token_env")
        found = [
            Key(
                name=key.name,
                level=Level[key.access.upper()],
                secret=_secret(key.key_env, f"collector.keys: {key.name}"),
            )
            for key in keys
        ]
        secrets = [key.secret for key in found] + ([token] if token else [])
        if len(set(secrets)) < len(secrets):
            raise ConfigError(
                "collector.keys: two keys, or a key and the senders' token, have the same secret",
                hint="each needs its own, or nobody can tell who did what",
            )
        host = console.rpartition(":")[0].strip("[]")
        return cls(token, keys=found, loopback=is_loopback(host))

    @property
    def required(self) -> bool:
        return self._expected is not None

    @property
    def keyed(self) -> bool:
        """Whether reading needs a key."""
        return bool(self._keys)

    def allows(self, authorization: bytes) -> bool:
        """Say whether the Authorization header's value is the right one for a sender."""
        return self._expected is None or hmac.compare_digest(authorization, self._expected)

    def person(self, authorization: bytes) -> Person | None:
        """Return who shows this Authorization header's value; None for nobody we know.

        Every key is compared, so that the time taken tells nothing of which one was near.
        """
        if not self._keys:
            if self._loopback:
                return Person(name=LOCAL, level=Level.APPROVER)
            return Person(name=ANYBODY, level=Level.VIEWER)
        found = None
        for expected, person in self._keys:
            if hmac.compare_digest(authorization, expected):
                found = person
        return found


def is_loopback(host: str) -> bool:
    """Say whether only this machine can reach ``host``."""
    return host in ("localhost", "::1") or bool(re.fullmatch(r"127(\.\d{1,3}){3}", host))


def _shown(secret: str) -> bytes:
    return f"Bearer {secret}".encode()


def _secret(variable: str, user: str) -> str:
    found = os.environ.get(variable, "")
    if not found:
        raise ConfigError(
            f"{user} names {variable}, which is not set",
            hint=f"set {variable} or remove the key",
        )
    return found
