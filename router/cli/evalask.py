"""How a suite's cases reach a tier: through the running gateway, or straight to the provider."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from evals.suite import Case
from evals.suite_run import Outcome, Reply
from router.request import ENDPOINTS
from router.targets import Target
from router.usage import read_answer
from telemetry.errors import ConfigError
from telemetry.records import Dialect

if TYPE_CHECKING:
    import aiohttp

ANSWER_BYTES_MAX: Final = 16 * 1_048_576
FEEDBACK: Final = "/v1/feedback"
SOURCE: Final = "tierwise eval"
_REFUSED: Final = frozenset({400, 401, 403})  # no other case would fare better


@dataclass(frozen=True, kw_only=True, slots=True)
class ThroughGateway:
    """Names the tier's first model, which the gateway serves where callers may pin."""

    session: "aiohttp.ClientSession"
    origin: str  # http://host:port
    role: str
    dialect: Dialect
    models: Mapping[str, str]  # by tier
    key: str | None

    async def __call__(self, case: Case, tier: str, /) -> Reply:
        headers = {"content-type": "application/json", "x-tierwise-role": self.role}
        if self.key is not None:
            headers["authorization"] = f"Bearer {self.key}"
        status, found, content, seconds, error = await _post(
            self.session, self.origin + _path(self.dialect), case.asking(self.models[tier]), headers
        )
        if status in _REFUSED:
            raise _refused(f"the gateway at {self.origin}", status, content)
        served = found.get("x-tierwise-tier")
        if error is None and served != tier:
            raise ConfigError(
                f"asked for tier {tier!r} ({self.models[tier]}), the gateway answered from "
                f"{served!r} (reason {found.get('x-tierwise-reason')!r})",
                hint=f"let callers pin: caller_pins = true in [roles.{self.role}] of policy.toml; "
                "or run with --direct",
            )
        cost = found.get("x-tierwise-cost-usd")
        return Reply(
            content=content,
            error=error,
            seconds=seconds,
            cost_usd=None if cost is None else float(cost),
            decision=found.get("x-tierwise-decision"),
        )

    async def tell(self, outcome: Outcome, *, suite: str) -> bool:
        """Post an outcome as feedback on its decision; say whether it was taken."""
        if outcome.decision is None or outcome.passed is None:
            return False
        body = {
            "decision": outcome.decision,
            "name": f"suite:{suite}",
            "label": "pass" if outcome.passed else "fail",
            "source": SOURCE,
        }
        if outcome.score is not None:
            body = {**body, "score": outcome.score}  # type: ignore[dict-item]
            del body["label"]
        headers = {"content-type": "application/json"}
        if self.key is not None:
            headers["authorization"] = f"Bearer {self.key}"
        status, *_ = await _post(
            self.session, self.origin + FEEDBACK, json.dumps(body).encode(), headers
        )
        return status is not None and status < 300


@dataclass(frozen=True, kw_only=True, slots=True)
class Direct:
    """Asks the providers of tierwise.toml themselves; nothing is recorded anywhere."""

    session: "aiohttp.ClientSession"
    dialect: Dialect
    targets: Mapping[str, Target]  # by tier
    params: Mapping[str, Mapping[str, Any]]  # fields that a tier sets on its requests

    async def __call__(self, case: Case, tier: str, /) -> Reply:
        target = self.targets[tier]
        body = json.loads(case.asking(target.request_model)) | dict(self.params.get(tier, {}))
        path = ENDPOINTS[_path(self.dialect)].path
        status, _, content, seconds, error = await _post(
            self.session,
            target.base_url + path,
            json.dumps(body).encode(),
            {"content-type": "application/json", **dict(target.headers)},
        )
        if status in _REFUSED:
            raise _refused(f"the provider of {target.model}", status, content)
        usage = read_answer(self.dialect, content)
        cost = target.price.cost(usage.tokens) if error is None else 0.0
        return Reply(content=content, error=error, seconds=seconds, cost_usd=cost)


def _path(dialect: Dialect) -> str:
    return next(path for path, endpoint in ENDPOINTS.items() if endpoint.dialect is dialect)


async def _post(
    session: "aiohttp.ClientSession", url: str, body: bytes, headers: Mapping[str, str]
) -> tuple[int | None, Mapping[str, str], bytes, float, str | None]:
    """Return (status, headers, body, seconds, error); what fails is said, never raised."""
    import aiohttp  # noqa: PLC0415 - large, and only a run asks anybody

    began = time.monotonic()
    try:
        async with session.post(url, data=body, headers=headers, allow_redirects=False) as answer:
            content = await answer.content.read(ANSWER_BYTES_MAX)
            while len(content) < ANSWER_BYTES_MAX and (more := await answer.content.readany()):
                content += more
            error = None if answer.status < 300 else f"status {answer.status}"
            found = {name.lower(): value for name, value in answer.headers.items()}
            return answer.status, found, content, time.monotonic() - began, error
    except (aiohttp.ClientConnectorError, aiohttp.InvalidURL) as fault:
        raise ConfigError(f"{url}: {fault}", hint="is it running, and at that address?") from fault
    except (aiohttp.ClientError, TimeoutError) as fault:
        return None, {}, b"", time.monotonic() - began, type(fault).__name__


def _refused(who: str, status: int | None, content: bytes) -> ConfigError:
    try:
        said = json.loads(content)["error"]["message"]
    except (ValueError, KeyError, TypeError):
        said = "no reason"
    return ConfigError(f"{who} refused the case ({status}): {said}", hint="mend the suite or keys")
