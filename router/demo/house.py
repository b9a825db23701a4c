"""A whole house of its own: stand-in models, `tierwise serve` before them, a webhook for alerts."""

import asyncio
import contextlib
import json
import secrets
import tempfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from evals.standin.running import StandinProcess
from router.demo.child import Service, serving
from router.demo.hook import Hook, listening

TOKEN_ENV: Final = "TIERWISE_HOUSE_TOKEN"


@dataclass(frozen=True, kw_only=True, slots=True)
class House:
    """What runs; ``token`` is the collector's, so that grades may justify a cheaper tier."""

    service: Service
    standin: StandinProcess
    hook: Hook
    token: str

    @property
    def bearer(self) -> dict[str, str]:
        """The headers of whoever grades."""
        return {"authorization": f"Bearer {self.token}"}


@contextlib.asynccontextmanager
async def housed(
    policy: str, prices: Sequence[str], *, provider: str, hook_env: str, seed: int
) -> AsyncIterator[House]:
    """Run a house for as long as the block lasts, on free ports, its files in a folder of its own.

    ``policy`` and ``prices`` are the text of policy.toml and lines of tierwise.toml; all models are
    ``provider``'s. The policy's webhook goes by the variable ``hook_env``.

    Raises:
        ServiceFailed: gateway and collector did not start.
    """
    token = secrets.token_hex(16)
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tierwise-house-")))
        hook = await stack.enter_async_context(listening())
        standin = await asyncio.to_thread(StandinProcess.start, seed=seed)
        stack.callback(standin.close)
        files = _written(folder, policy, prices, provider=provider, url=standin.base_url)
        environment = {TOKEN_ENV: token, hook_env: hook.url}
        service = await stack.enter_async_context(serving(*files, environment=environment))
        yield House(service=service, standin=standin, hook=hook, token=token)


def _written(
    folder: Path, policy: str, prices: Sequence[str], *, provider: str, url: str
) -> tuple[Path, Path]:
    """Write both files; return their paths."""
    files = folder / "tierwise.toml", folder / "policy.toml"
    lines = ["schema = 1", "[gateway]", "drain_seconds = 2", f"[providers.{provider}]"]
    lines += [f"base_url = {json.dumps(url)}", 'dialects = ["chat", "responses", "messages"]']
    lines += ["[collector]", f'token_env = "{TOKEN_ENV}"', *prices]
    for path, text in zip(files, ("\n".join(lines) + "\n", policy), strict=True):
        path.write_text(text, encoding="utf-8")
    return files
