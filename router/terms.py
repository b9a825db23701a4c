"""The terms of both files, read again when either changes, for the collector's process."""

import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from router.config import Config
from router.policy import hash_of
from router.policyfile import PinConfig, PolicyFile
from router.route import sensible
from router.rules import CODE, Rules, faults_of, refuse, rules_of
from telemetry.clock import Clock
from telemetry.configfile import parse, read
from telemetry.errors import ConfigError
from telemetry.prices import PriceBook
from telemetry.records import Arm
from telemetry.terms import PinTerms, RoleTerms, Terms, TierTerms

LOOK_SECONDS: Final = 2.0

log = logging.getLogger("tierwise.collector")


class TermsFile:
    """Holds the current terms; a faulty change of a file leaves them as they were."""

    def __init__(self, config: Path, policy: Path, *, clock: Clock) -> None:
        """Read both files.

        Raises:
            ConfigError: naming everything that does not fit.
        """
        self._paths = (config, policy)
        self._clock = clock
        self._contents = self._read()
        self._looked_at = clock.monotonic()
        self._terms = self._build(self._contents)

    def current(self) -> Terms:
        """Return the terms that hold now, looking at the files at most every two seconds."""
        now = self._clock.monotonic()
        if now - self._looked_at >= LOOK_SECONDS:
            self._looked_at = now
            self._look()
        return self._terms

    def _look(self) -> None:
        try:
            contents = self._read()
            if contents != self._contents:
                self._contents = contents
                self._terms = self._build(contents)
        except ConfigError as error:
            log.error("the policy's terms stay as they were: %s", error)

    def _read(self) -> tuple[bytes, bytes]:
        config, policy = self._paths
        return read(config), read(policy)

    def _build(self, contents: tuple[bytes, bytes]) -> Terms:
        config = parse(contents[0], Config, name=self._paths[0].name)
        policy = parse(contents[1], PolicyFile, name=self._paths[1].name)
        return terms_of(config, policy, at=datetime.fromtimestamp(self._clock.now_ns() / 1e9, UTC))


def terms_of(config: Config, policy: PolicyFile, *, at: datetime) -> Terms:
    """Return what the two files declare, without what only the gateway needs (providers' keys).

    Raises:
        ConfigError: naming everything in the policy that does not fit together.
    """
    refuse(faults_of(policy))
    prices = PriceBook(config.prices, at=at)
    return Terms(
        policy_hash=hash_of(policy),
        ladder=policy.ladder,
        tiers={tier: _tier(config, policy, tier, prices=prices) for tier in policy.ladder},
        roles=tuple(_role(policy, rules) for rules in rules_of(policy)),
        alerts=policy.alerts,
        learning=policy.learning,
        evaluators=policy.evaluators,
    )


def _role(policy: PolicyFile, rules: Rules) -> RoleTerms:
    low, high = (policy.ladder.index(tier) for tier in rules.range)
    tiers = policy.ladder[low : high + 1]
    return RoleTerms(
        role=rules.role,
        mode=rules.mode,
        tiers=tiers,
        declared=sensible(Arm(tier=rules.tier, on_fail=rules.on_fail), tiers),
        floor=rules.quality_floor,
        learn=rules.learn,
        checked=bool(rules.checks),
        pin=None if rules.pin is None else _pin(rules.pin),
        overhead=rules.overhead,
    )


def _pin(pin: PinConfig) -> PinTerms:
    return PinTerms(model=pin.model, reason=pin.reason, owner=pin.owner, until=pin.until)


def _tier(config: Config, policy: PolicyFile, tier: str, *, prices: PriceBook) -> TierTerms:
    if tier == CODE:
        return TierTerms(models=(), usd_per_token=(0.0, 0.0, 0.0))
    models = policy.tiers[tier].models
    return TierTerms(models=models, usd_per_token=_usd_per_token(config, models[0], prices=prices))


def _usd_per_token(
    config: Config, model: str, *, prices: PriceBook
) -> tuple[float, float, float] | None:
    """Return USD per input, output and cached input token, or None where nobody knows."""
    name = model.partition("/")[0]
    provider = config.providers.get(name)
    if provider is None:
        return None
    try:
        price = prices.price(model, system=provider.system or name, base_url=provider.base_url)
    except ConfigError:
        return None
    rates = price.rates[0]
    return rates.input, rates.output or 0.0, rates.cache_read
