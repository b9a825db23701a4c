"""Real files, rewritten while a reloader watches them."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from router.config import Config
from router.reload import Reloader, build, folders_of, restart_keys
from telemetry.clock import ManualClock, SystemClock
from telemetry.errors import ConfigError
from tests.router.declared import CANARY, CONFIG, ENVIRONMENT, LADDER, TODAY, WORKER, config

KEY = '[[keys]]\nname = "ci"\nkey_env = "CI_KEY"\n'
ALL = ENVIRONMENT | {"CI_KEY": CANARY}


class Files:
    """Both files in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.config = folder / "tierwise.toml"
        self.policy = folder / "policy.toml"
        self.config.write_text(CONFIG)
        self.policy.write_text(LADDER)

    def reloader(self, clock: SystemClock | ManualClock | None = None) -> Reloader:
        return Reloader(self.config, self.policy, environment=ALL, clock=clock or SystemClock())


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@asynccontextmanager
async def watching(reloader: Reloader) -> AsyncIterator[None]:
    task = asyncio.create_task(reloader.watch())
    await asyncio.sleep(0.3)  # until the watch stands; a missed start is noticed 5 s later anyway
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.02)


# Loading


def test_both_files_make_one_state(files: Files) -> None:
    loaded = files.reloader().current
    assert loaded.policy.roles == {"default"}
    assert loaded.config.schema_ == 1
    assert loaded.callers.identify(None, None) is None


def test_a_client_keys_roles_must_be_the_policys() -> None:
    text = CONFIG + KEY + 'role = "workr"\nroles = ["planer"]\n'
    with pytest.raises(ConfigError) as caught:
        build(text.encode(), (LADDER + WORKER).encode(), environment=ALL, today=TODAY)
    said = str(caught.value)
    assert "tierwise.toml: keys.ci: policy.toml has no role 'workr'" in said
    assert "did you mean 'worker'?" in said
    assert "'planer'" in said
    assert "not among the roles it may use" in said
    assert CANARY not in said


def test_the_first_load_must_succeed(files: Files) -> None:
    files.policy.write_text("schema = 2")
    with pytest.raises(ConfigError):
        files.reloader()


# Reloading by hand


def test_a_reload_replaces_everything_at_once(files: Files) -> None:
    reloader = files.reloader()
    before = reloader.current
    files.policy.write_text(LADDER + WORKER)
    assert reloader.reload()
    assert reloader.current.policy.roles == {"default", "worker"}
    assert before.policy.roles == {"default"}  # a step in flight keeps what it began with
    assert (reloader.reloads, reloader.failures, reloader.error) == (1, 0, None)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("schema = ", "policy.toml: not TOML"),
        (LADDER.replace("local/tiny", "local/priceless"), "has no price"),
        (LADDER + '[roles.worker]\ntier = "midd"\n', "did you mean 'mid'?"),
        (LADDER + "[rolls.worker]\n", "did you mean 'roles'?"),
    ],
)
def test_a_reload_that_fails_keeps_the_old_state_and_says_why(
    files: Files, text: str, said: str
) -> None:
    reloader = files.reloader()
    before = reloader.current
    files.policy.write_text(text)
    assert not reloader.reload()
    assert reloader.current is before
    assert said in (reloader.error or "")
    assert reloader.failures == 1
    files.policy.write_text(LADDER)
    assert reloader.reload()
    assert reloader.error is None


def test_a_fault_of_our_own_keeps_the_old_state_too(files: Files) -> None:
    reloader = files.reloader()
    before = reloader.current
    setattr(reloader, "_environment", None)  # noqa: B010 - breaks the next build inside
    assert not reloader.reload()
    assert reloader.current is before
    assert "internal" in (reloader.error or "")


def test_what_a_running_process_cannot_take_up_is_named() -> None:
    moved = config(CONFIG + '[gateway]\nlisten = "127.0.0.1:9090"\n')
    assert restart_keys(config(), moved) == ("gateway",)
    assert restart_keys(config(), config()) == ()
    repriced = config(CONFIG.replace("input = 3", "input = 4"))
    assert restart_keys(config(), repriced) == ()
    every = {"state_dir", "gateway", "collector", "telemetry"}
    assert every | {"schema_", "providers", "prices", "keys"} == set(Config.model_fields)


# Watching


async def test_a_changed_file_is_taken_up(files: Files) -> None:
    reloader = files.reloader()
    async with watching(reloader):
        files.policy.write_text(LADDER + WORKER)
        await until(lambda: "worker" in reloader.current.policy.roles)
        files.config.write_text(CONFIG.replace("input = 3", "input = 33"))
        await until(lambda: reloader.current.config.prices["claude/mid"].input == 33)


async def test_a_file_replaced_by_renaming_is_taken_up_again_and_again(files: Files) -> None:
    reloader = files.reloader()
    async with watching(reloader):
        for number in range(3):
            fresh = files.policy.with_suffix(".new")
            fresh.write_text(LADDER + f"[roles.r{number}]\n")
            fresh.replace(files.policy)
            await until(lambda n=number: f"r{n}" in reloader.current.policy.roles)  # type: ignore[misc]


async def test_a_config_map_that_swaps_a_link_is_taken_up(tmp_path: Path) -> None:
    for version, roles in (("v1", ""), ("v2", WORKER)):
        (tmp_path / version).mkdir()
        (tmp_path / version / "tierwise.toml").write_text(CONFIG)
        (tmp_path / version / "policy.toml").write_text(LADDER + roles)
    data = tmp_path / "..data"
    data.symlink_to("v1")
    for name in ("tierwise.toml", "policy.toml"):
        (tmp_path / name).symlink_to(Path("..data") / name)
    reloader = Reloader(
        tmp_path / "tierwise.toml",
        tmp_path / "policy.toml",
        environment=ALL,
        clock=SystemClock(),
    )
    async with watching(reloader):
        swap = tmp_path / "..swap"
        swap.symlink_to("v2")
        swap.replace(data)
        await until(lambda: "worker" in reloader.current.policy.roles)


def test_the_folders_of_links_and_of_what_they_point_to_are_watched(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    (there / "policy.toml").write_text(LADDER)
    (here / "policy.toml").symlink_to(there / "policy.toml")
    assert folders_of([here / "policy.toml"]) == {here, there}
    assert folders_of([tmp_path / "gone" / "policy.toml"]) == set()


async def test_a_deleted_file_is_said_and_the_old_state_stays_until_it_returns(
    files: Files,
) -> None:
    reloader = files.reloader()
    before = reloader.current
    async with watching(reloader):
        files.policy.unlink()
        await until(lambda: reloader.error is not None)
        assert "policy.toml" in (reloader.error or "")
        assert reloader.current is before
        files.policy.write_text(LADDER)  # as it was
        await until(lambda: reloader.error is None)
        assert reloader.reloads == 1


async def test_a_half_written_file_that_is_valid_by_itself_is_not_served(files: Files) -> None:
    reloader = files.reloader()
    served: set[frozenset[str]] = set()
    whole = LADDER + "".join(f"[roles.r{number}]\n" for number in range(12))
    async with watching(reloader):
        with files.policy.open("w") as file:
            for line in whole.splitlines(keepends=True):
                file.write(line)
                file.flush()
                await asyncio.sleep(0.02)
                served.add(reloader.current.policy.roles)
        await until(lambda: "r11" in reloader.current.policy.roles)
    assert served == {frozenset({"default"})}
    assert reloader.reloads == 1


async def test_many_quick_changes_end_with_the_last_one(files: Files) -> None:
    reloader = files.reloader()
    async with watching(reloader):
        for number in range(50):
            files.policy.write_text(LADDER + f"[roles.r{number}]\n")
        await until(lambda: "r49" in reloader.current.policy.roles)
    assert reloader.reloads < 50


async def test_a_neighbour_that_changes_reloads_nothing(files: Files) -> None:
    reloader = files.reloader()
    async with watching(reloader):
        (files.policy.parent / "notes.txt").write_text("hello")
        files.policy.touch()
        await asyncio.sleep(1.0)
    assert (reloader.reloads, reloader.failures) == (0, 0)


async def test_hangup_reloads_even_what_did_not_change(files: Files) -> None:
    reloader = files.reloader()
    async with watching(reloader):
        os.kill(os.getpid(), signal.SIGHUP)
        await until(lambda: reloader.reloads == 1)


async def test_no_canary_is_in_what_a_failed_reload_says(files: Files) -> None:
    reloader = files.reloader()
    files.config.write_text(CONFIG + KEY.replace("CI_KEY", CANARY))
    assert not reloader.reload()
    assert CANARY not in (reloader.error or "")
    files.config.write_text(CONFIG.replace("https://", f"https://user:{CANARY}@"))
    assert not reloader.reload()
    assert CANARY not in (reloader.error or "")
    files.config.write_text(CONFIG.replace("key_env", "key").replace("CLAUDE_KEY", CANARY))
    assert not reloader.reload()
    assert CANARY not in (reloader.error or "")
