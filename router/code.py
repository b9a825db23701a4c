"""The tier `code`: a function of the operator's, placed on the ladder like a model."""

from pathlib import Path
from typing import Final

from evals.codetier import CodeFunction, resolve
from router.rules import CODE, Rules
from router.targets import Target
from telemetry import names
from telemetry.errors import ConfigError
from telemetry.prices import Price, Rates
from telemetry.records import Dialect

_FREE: Final = Price(
    rates=(Rates(above=-1, input=0.0, output=0.0, cache_read=0.0, cache_write=0.0),),
    source="config",
    entry=CODE,
)
_DIALECTS: Final = frozenset({Dialect.CHAT, Dialect.RESPONSES, Dialect.MESSAGES})


def target_of(rules: Rules) -> Target | None:
    """Return a role's function as somebody to ask; None when it has none."""
    if rules.code is None:
        return None
    return Target(
        model=f"{CODE}/{rules.code}",
        provider=names.CODE_PROVIDER,
        request_model=rules.code,
        base_url="",
        dialects=_DIALECTS,
        server_address="",
        server_port=0,
        headers=(),
        price=_FREE,
        stream_usage=False,
    )


def function_of(rules: Rules, directory: Path | None) -> CodeFunction | None:
    """Return a role's function, ready to be called; ``directory`` is the policy file's own.

    Raises:
        ConfigError: it cannot be found or called.
    """
    if rules.code is None:
        return None
    try:
        return CodeFunction(resolve(rules.code, directory=directory), name=rules.code)
    except ConfigError as error:
        raise ConfigError(f"policy.toml: {rules.where}.{error.message}", hint=error.hint) from error
