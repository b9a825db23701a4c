"""Where a model lives: address, dialects, headers with the key, price."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from typing import Literal
from urllib.parse import urlsplit

from router.config import Config, ProviderConfig
from telemetry.errors import ConfigError
from telemetry.prices import Price, PriceBook
from telemetry.records import Dialect


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """One model at one provider, ready to be called in one dialect.

    ``headers`` hold the provider's key: they stand in no repr, and nothing may log them.
    """

    model: str  # as the policy names it: provider/name
    provider: str  # as OTel names it
    request_model: str  # as the provider names it
    base_url: str  # what stands before /chat/completions, /responses, /messages, /embeddings
    dialects: frozenset[Dialect]
    server_address: str
    server_port: int
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    price: Price
    stream_usage: bool


class Targets:
    """Every model that the configuration can reach.

    Keys and prices are looked up when a model is first named, so a provider that no policy uses
    needs neither.
    """

    def __init__(self, config: Config, environment: Mapping[str, str], *, today: date) -> None:
        """``today`` picks among catalogue prices that change with the date."""
        self.providers = config.providers
        self._environment = environment
        self._prices = PriceBook(config.prices, at=datetime.combine(today, time(12), UTC))
        self._found: dict[tuple[str, Dialect | None], Target] = {}

    def target(self, model: str, dialect: Dialect | None = None) -> Target:
        """Return ``model`` (as provider/name), its key sent the way ``dialect`` wants it.

        Raises:
            ConfigError: naming the unknown provider, the unset variable or the missing price.
        """
        found = self._found.get((model, dialect))
        if found is None:
            found = self._found[model, dialect] = self._build(model, dialect)
        return found

    def _build(self, model: str, dialect: Dialect | None) -> Target:
        name, _, request_model = model.partition("/")
        provider = self.providers.get(name)
        if provider is None or not request_model:
            raise ConfigError(
                f"model {model!r}: no provider is called {name!r}",
                hint=f"add [providers.{name}] to tierwise.toml; "
                f"known providers: {', '.join(self.providers)}",
            )
        parts = urlsplit(provider.base_url)
        system = provider.system or name
        return Target(
            model=model,
            provider=system,
            request_model=request_model,
            base_url=provider.base_url if parts.path else f"{provider.base_url}/v1",
            dialects=frozenset(provider.dialects),
            server_address=parts.hostname or "",
            server_port=parts.port or (443 if parts.scheme == "https" else 80),
            headers=self._headers(name, provider, dialect),
            price=self._prices.price(model, system=system, base_url=provider.base_url),
            stream_usage=provider.stream_usage,
        )

    def _headers(
        self, name: str, provider: ProviderConfig, dialect: Dialect | None
    ) -> tuple[tuple[str, str], ...]:
        headers = [(key.lower(), value) for key, value in provider.headers.items()]
        if provider.key_env is not None:
            key = secret(
                provider.key_env, self._environment, user=f"[providers.{name}] of tierwise.toml"
            )
            if _auth(provider, dialect) == "x-api-key":
                headers.append(("x-api-key", key))
            else:
                headers.append(("authorization", f"Bearer {key}"))
        return tuple(headers)


def _auth(provider: ProviderConfig, dialect: Dialect | None) -> Literal["bearer", "x-api-key"]:
    if provider.auth is not None:
        return provider.auth
    spoken: Iterable[Dialect] = provider.dialects if dialect is None else (dialect,)
    return "x-api-key" if set(spoken) == {Dialect.MESSAGES} else "bearer"


def secret(variable: str, environment: Mapping[str, str], *, user: str) -> str:
    """Return the secret in an environment variable, without the white space around it.

    Raises:
        ConfigError: naming the variable and ``user``, never the value, when it is unset, empty or
            cannot stand in a header.
    """
    value = environment.get(variable, "").strip()
    if not value:
        raise ConfigError(
            f"environment variable {variable} is not set, but {user} wants it",
            hint=f"export {variable}=... before starting",
        )
    if not (value.isascii() and value.isprintable()) or " " in value:
        raise ConfigError(
            f"environment variable {variable} holds characters that no header may carry",
            hint="set it to the key alone: printable ASCII without spaces or line breaks",
        )
    return value
