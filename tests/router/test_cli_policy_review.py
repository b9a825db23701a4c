"""`tierwise policy` and `tierwise audit-log` before a real collector."""

import asyncio
import json
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from collector.access import Access, Key, Level
from collector.desk import desk_path
from collector.proposals import Moment
from collector.proposing import Queue
from router.cli.app import run
from tests.collector.conftest import Running, running
from tests.collector.reviewing import evidence, revision, terms


class Person:
    """Types commands and reads what they say."""

    def __init__(self, house: Running, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.house = house
        self._capsys = capsys
        self._flags = ["--config", str(folder / "none.toml"), "--console", house.console[7:]]

    async def types(self, *arguments: str) -> tuple[int, str, str]:
        code = await asyncio.to_thread(run, [*arguments, *self._flags])
        captured = self._capsys.readouterr()
        return code, captured.out, captured.err

    async def told(self, *arguments: str, code: int = 0) -> Any:
        found, out, err = await self.types(*arguments, "--json")
        assert found == code, err
        assert out.count("\n") == 1
        return json.loads(out)

    def submits(self, small: float, *, activate: bool = False, parent: str | None = None) -> str:
        made = revision(small, parent=parent)
        now_ns = self.house.clock.now_ns()
        self.house.revisions.submit(
            made, author="learner", trigger="tick", now_ns=now_ns, activate=activate, note={}
        )
        return made.revision_id


@pytest.fixture
async def person(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> AsyncIterator[Person]:
    async with running(tmp_path, terms=terms()) as house:
        yield Person(house, tmp_path, capsys)


async def test_a_proposal_is_read_and_approved(person: Person) -> None:
    now_ns = person.house.clock.now_ns()
    rows = evidence(at_ns=now_ns - 10**12, small=(400, 0.97), mid=(400, 0.97))
    await person.house.writer.submit(rows)
    proposal = person.submits(0.5)
    listed = await person.told("policy", "list", "--status", "proposed")
    assert [one["id"] for one in listed["revisions"]] == [proposal]
    _, out, _ = await person.types("policy", "list")
    assert "in force: declared" in out
    assert proposal in out
    _, out, _ = await person.types("policy", "show", proposal)
    assert "small/step  0.5000" in out
    assert "evidence worker||: labels 120" in out
    _, out, _ = await person.types("policy", "diff", proposal)
    assert f"declared -> {proposal}" in out
    assert "-0.02 USD per step" in out  # half of the steps, 0.04 USD less each
    _, out, _ = await person.types("policy", "preview", proposal)
    assert "50.0% of steps move" in out
    assert "nothing blocks an approval" in out
    assert (await person.told("policy", "approve", proposal))["active"] == proposal
    _, out, _ = await person.types("policy", "list")
    assert f"in force: {proposal}" in out
    found = await person.told("policy", "diff")
    assert (found["before"], found["after"]) == ("declared", proposal)


async def test_what_the_preview_objects_to_needs_an_override(person: Person) -> None:
    proposal = person.submits(0.5)
    _, out, _ = await person.types("policy", "preview", proposal)
    assert "blocks: worker: no recent step that it moves is in the log" in out
    code, _, err = await person.types("policy", "approve", proposal)
    assert code == 1
    assert "the preview objects" in err
    answer = await person.told("policy", "approve", proposal, "--override", "a pilot")
    assert answer["active"] == proposal
    log = await person.told("audit-log", "list", "--limit", "1")
    assert (log["rows"][0]["action"], log["rows"][0]["reason"]) == ("approve", "a pilot")


async def test_a_proposal_that_was_rebased_is_approved_by_the_name_that_was_read(
    person: Person,
) -> None:
    house, read = person.house, person.submits(0.5)
    acting, now_ns = revision(0.4, cell="planner||"), house.clock.now_ns()
    house.revisions.submit(
        acting, author="learner", trigger="tick", now_ns=now_ns, activate=True, note={}
    )
    at = Moment(now_ns=now_ns, active=acting.revision_id, policy_hash=acting.policy_hash)
    moved = Queue(house.revisions.desk, house.meters).follow(at)
    (later,) = moved.keys() - {read}
    assert (await person.told("policy", "show", read))["successor"] == later
    path = f"{house.console}/api/policy/revisions/{read}/approve"
    base = {"if-match": f'"{acting.revision_id}"'}
    async with house.session.post(path, json={}, headers=base) as answer:
        assert answer.status == 409
        error = (await answer.json())["error"]
    assert error["code"] == "wrong_status"
    assert error["hint"] == f"{later} moves the same cells: approve that"
    code, _, err = await person.types("policy", "approve", read, "--override", "a pilot")
    assert code == 0
    assert f"{read} was rebased: {later} moves the same cells" in err
    served = await person.told("policy", "show", "active")
    assert (served["id"], set(served["shares"])) == (later, {"planner||", "worker||"})


async def test_rolling_back_freezes_and_thawing_ends_it(person: Person) -> None:
    first = person.submits(0.2, activate=True)
    code, out, _ = await person.types("policy", "rollback", "--reason", "complaints")
    assert code == 0
    assert "frozen: worker" in out
    assert f"undone: {first}" in out
    code, _, err = await person.types("policy", "rollback", "--reason", "more")
    assert (code, "nothing to undo" in err) == (1, True)
    _, out, _ = await person.types("policy", "list")
    assert f"worker: frozen by local until thawed: rolled back {first}: complaints" in out
    assert (await person.told("policy", "thaw"))["ended"] == ["worker"]
    back = await person.told("policy", "activate", first)
    assert back["active"] == first


async def test_holds_are_set_and_ended(person: Person) -> None:
    answer = await person.told("policy", "pin", "worker", "top", "--reason", "audit", "--days", "2")
    assert answer["hold"]["arm"] == "top/accept"
    _, out, _ = await person.types("policy", "list")
    assert "worker: pinned to top/accept by local until" in out
    assert (await person.told("policy", "unpin", "worker"))["ended"] == ["worker"]
    assert (await person.told("policy", "freeze", "--reason", "r"))["hold"]["role"] == "*"
    assert (await person.types("policy", "pin", "worker", "top", "--reason", "r"))[0] == 2
    far = ("--reason", "r", "--days", "91")
    assert (await person.types("policy", "pin", "worker", "top", *far))[0] == 2


async def test_a_revision_goes_through_a_file_and_back(person: Person, tmp_path: Path) -> None:
    first = person.submits(0.25, activate=True)
    path = tmp_path / "revision.toml"
    assert (await person.types("policy", "export", "--out", str(path)))[0] == 0
    _, out, _ = await person.types("policy", "export")
    assert out == path.read_text()
    text = path.read_text().replace("= 0.25", "= 0.5").replace("= 0.75", "= 0.5")
    path.write_text(text)
    file = ("--file", str(path))
    proposed = await person.told("policy", "propose", *file, "--reason", "half and half")
    assert proposed["status"] == "proposed"
    assert (await person.types("policy", "activate", *file))[0] == 1  # nothing proves it
    whole = ("policy", "activate", *file, "--override", "agreed")
    assert (await person.told(*whole))["active"] == proposed["revision"] != first
    assert (await person.told(*whole))["unchanged"] is True
    await person.types("policy", "rollback", "--reason", "r", "--to", "declared")
    code, _, err = await person.types(*whole)
    assert (code, "declared is in force by now" in err) == (1, True)
    path.write_text("nonsense")
    assert (await person.types(*whole))[0] == 1
    assert (await person.types("policy", "activate"))[0] == 2
    assert (await person.types("policy", "activate", "--file", f"{tmp_path}/none"))[0] == 2


async def test_rejecting_and_shadowing(person: Person) -> None:
    proposal = person.submits(0.5)
    assert (await person.told("policy", "shadow", proposal))["status"] == "shadow"
    answer = await person.told("policy", "reject", proposal, "--reason", "no gain")
    assert answer["status"] == "rejected"
    _, out, _ = await person.types("policy", "show", proposal)
    assert "rejected by local" in out
    assert "no gain" in out
    assert (await person.types("policy", "show", "0" * 16))[0] == 1


async def test_the_audit_log_is_verified_and_a_broken_one_ends_with_2(
    person: Person, tmp_path: Path
) -> None:
    await person.types("policy", "freeze", "--reason", "r")
    await person.types("policy", "thaw")
    found = await person.told("audit-log", "verify")
    assert (found["whole"], found["rows"]) == (True, 2)
    store = tmp_path / "copy.duckdb"
    with sqlite3.connect(desk_path(tmp_path / "c.duckdb")) as whole:
        whole.execute("VACUUM INTO ?", (str(desk_path(store)),))
    whole.close()
    assert (await person.told("audit-log", "verify", "--store", str(store)))["rows"] == 2
    _, out, _ = await person.types("audit-log", "list", "--store", str(store))
    assert out.index("thaw") < out.index("freeze")
    elsewhere = ("--head", "2:" + "0" * 64)
    assert (await person.types("audit-log", "verify", *elsewhere))[0] == 2
    with sqlite3.connect(desk_path(store)) as broken:
        broken.execute("DROP TRIGGER audit_log_keeps")
        broken.execute("UPDATE audit_log SET actor = 'nobody' WHERE sequence = 1")
    broken.close()
    code, out, _ = await person.types("audit-log", "verify", "--store", str(store))
    assert (code, "BROKEN after 0 rows: row 1 was changed" in out) == (2, True)


async def test_commands_show_the_key_of_the_environment(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = (
        Key(name="vic", level=Level.VIEWER, secret="v"),
        Key(name="ada", level=Level.APPROVER, secret="a"),
    )
    async with running(tmp_path, terms=terms(), access=Access("s", keys=keys)) as house:
        person = Person(house, tmp_path, capsys)
        monkeypatch.delenv("TIERWISE_KEY", raising=False)
        code, _, err = await person.types("policy", "list")
        assert (code, "needs one of the keys" in err) == (1, True)
        assert (await person.types("roles"))[0] == 1
        monkeypatch.setenv("TIERWISE_KEY", "v")
        assert (await person.types("policy", "list"))[0] == 0
        assert (await person.types("roles"))[0] == 0
        code, _, err = await person.types("policy", "freeze", "--reason", "r")
        assert (code, "needs approver access, vic has viewer" in err) == (1, True)
        monkeypatch.setenv("TIERWISE_KEY", "a")
        assert (await person.told("policy", "freeze", "--reason", "r"))["hold"]["owner"] == "ada"


def test_no_command_loads_numpy_before_it_computes() -> None:
    code = (
        "import router.cli.app, sys; "
        "print([name for name in ('numpy', 'scipy', 'evals.ope') if name in sys.modules])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert ran.stdout == "[]\n"
