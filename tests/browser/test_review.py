"""What people do on the pages: approve, reject, undo, hold, silence; with keys and without."""

from dataclasses import replace

import pytest

from collector.access import Access, Key, Level
from telemetry.alerting import AlertsConfig
from tests.browser.chromium import Tab
from tests.browser.world import failures, fill, proposal, terms
from tests.collector.conftest import Running, Start
from tests.collector.otlp import NOW_NS
from tests.collector.sinks.posting import webhook
from tests.collector.sinks.receiver import receiving

APPROVER, VIEWER, ANALYST = "s3cret-approver", "s3cret-viewer", "s3cret-analyst"
KEYS = (
    Key(name="ada", level=Level.APPROVER, secret=APPROVER),
    Key(name="vic", level=Level.VIEWER, secret=VIEWER),
    Key(name="bi", level=Level.ANALYTICS, secret=ANALYST),
)
SAID = "document.querySelector('#said').innerText"


async def propose(running: Running) -> str:
    """Put a revision into the queue that no fact speaks for; return its id."""
    made = proposal()
    running.revisions.submit(
        made, author="learner", trigger="evidence", now_ns=NOW_NS, activate=False, note={}
    )
    return made.revision_id


async def dialog(page: Tab, opener: str, title: str) -> None:
    await page.click(opener)
    await page.until(f"document.querySelector('dialog[open] h2')?.innerText === {title!r}")


async def submit(page: Tab) -> None:
    await page.click("dialog[open] button[type=submit]")


async def give(page: Tab, key: str) -> None:
    """Type a key into the dialog that asks for one."""
    await page.until("[...document.querySelectorAll('dialog[open] h2')].pop()?.innerText === "
                     "'A key is needed'")  # fmt: skip
    await page.fill("#field-key", key)
    await page.press("Enter", 13)


async def test_a_proposal_is_approved_and_rolled_back_with_keys(start: Start, page: Tab) -> None:
    running = await start(terms=terms(), access=Access(None, keys=KEYS))
    name = await propose(running)
    await page.goto(f"{running.console}/policy")
    await give(page, "wrong")
    await page.until("document.querySelectorAll('dialog[open]').length === 1")
    await give(page, VIEWER)
    await page.click("#queue td a")
    await page.sees("no recent step that it moves is in the log")
    await page.sees("There is no recent decision to replay.")

    await dialog(page, "#approve", "Approve this revision?")
    await page.sees("The preview objects: worker:")
    await submit(page)  # the browser holds the form back: the reason is missing
    assert await page.run("document.querySelector('#field-override').validity.valueMissing")
    await page.fill("#field-override", "a trial on Sunday")
    await submit(page)
    await page.sees("this needs approver access, vic has viewer")
    await give(page, APPROVER)
    await page.until(f"{SAID} === 'Revision {name} is in force.'")
    assert running.revisions.active().name == name
    assert not any(APPROVER in request["url"] for request in page.requests)
    assert await page.run("Object.keys(localStorage).length") == 0

    await page.goto(f"{running.console}/policy")
    await dialog(page, "#rollback", "Roll back")
    await page.fill("#field-reason", "complaints")
    await submit(page)
    await page.until(f"{SAID} === 'declared is in force again; frozen: worker.'")
    await page.sees("rolled back " + name)
    assert running.revisions.active().name == "declared"
    for deed in ("approve", "a trial on Sunday", "rollback", "ada"):
        await page.sees(deed)

    await page.click("#revisions tbody th a")
    await dialog(page, f"[id='activate-{name}']", "Put this revision in force again?")
    await submit(page)
    await page.until(f"{SAID} === 'Revision {name} is in force.'")
    assert running.revisions.active().name == name


async def test_a_key_for_sums_opens_the_overview_and_calls_the_rest_unknown(
    start: Start, page: Tab
) -> None:
    running = await start(terms=terms(), access=Access(None, keys=KEYS))
    await page.goto(running.console)
    await give(page, ANALYST)
    await page.sees("Nothing was seen in this window")
    assert "In force\nunknown" in await page.run("document.querySelector('dl').innerText")
    assert await page.run("document.querySelector('dialog') === null")


async def test_a_test_is_sent_to_every_sink(
    start: Start, page: Tab, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with receiving() as receiver:
        monkeypatch.setenv("HOOK", receiver.url)
        alerts = AlertsConfig(notify=(webhook(), webhook(name="broken", url_env="UNSET")))
        running = await start(terms=replace(terms(), alerts=alerts))
        await running.settled("/api/sinks", lambda found: len(found["sinks"]) == 2)
        await page.goto(f"{running.console}/alerts")
        await page.sees("not proven: send a test")
        await dialog(page, "#send-test", "Send a test to every sink?")
        await submit(page)
        await page.until(f"{SAID}.includes('webhook: acknowledged')")
        assert "UNSET is not set" in await page.run(SAID)
        await page.until(
            "document.querySelector('#sinks .badge.good')?.innerText.includes('proven')"
        )
        assert len(receiver.received) == 1


async def test_a_proposal_is_made_a_shadow_and_rejected_with_a_reason(
    start: Start, page: Tab
) -> None:
    running = await start(terms=terms())
    name = await propose(running)
    await page.goto(f"{running.console}/policy?revision={name}")
    await dialog(page, "#shadow", "Make it a shadow?")
    await submit(page)
    await page.until(f"{SAID} === 'Revision {name} is a shadow.'")
    await page.until("document.querySelector('#shadow') === null")
    await dialog(page, "#reject", "Reject this revision?")
    await page.fill("#field-reason", "not on a Friday")
    await submit(page)
    await page.until(f"{SAID} === 'Revision {name} is rejected.'")
    await page.sees("not on a Friday")
    assert await page.run("document.querySelector('#approve') === null")
    assert page.complaints == []


async def test_an_approval_for_what_is_no_longer_in_force_is_refused_in_the_dialog(
    start: Start, page: Tab
) -> None:
    running = await start(terms=terms())
    name = await propose(running)
    await page.goto(f"{running.console}/policy?revision={name}")
    await dialog(page, "#approve", "Approve this revision?")
    running.revisions.submit(
        proposal(0.1), author="bot", trigger="evidence", now_ns=NOW_NS, activate=True, note={}
    )
    await page.fill("#field-override", "why not")
    await submit(page)
    await page.sees("is in force by now, not what this was made for")
    assert await page.run("document.querySelector('dialog[open] .trouble').role") == "alert"
    assert running.revisions.active().name != name


async def test_a_role_is_pinned_and_frozen_and_let_go(start: Start, page: Tab) -> None:
    running = await start(terms=terms())
    await fill(running)
    await page.goto(f"{running.console}/policy")
    await dialog(page, "#pin", "Pin a role")
    await page.fill("#field-arm", "nowhere")
    await page.fill("#field-reason", "an incident")
    await submit(page)
    await page.until("document.querySelector('dialog .trouble').innerText.includes('nowhere')")
    await page.run("document.querySelector('#field-arm').value = ''")
    await page.fill("#field-arm", "frontier")
    await submit(page)
    await page.until(f"{SAID} === 'worker is pinned to frontier.'")
    await dialog(page, "#unpin-worker", "Unpin worker?")
    await submit(page)
    await page.until(f"{SAID} === 'worker: no longer pinned.'")
    await page.sees("Nothing is pinned or frozen.")
    await dialog(page, "#freeze", "Freeze")
    await page.fill("#field-reason", "stay")
    await submit(page)
    await page.until(f"{SAID} === 'Every role is frozen.'")
    await page.click("[id='thaw-*']")
    await submit(page)
    await page.until(f"{SAID} === 'all roles: no longer frozen.'")
    await page.sees("Nothing is pinned or frozen.")
    await page.click("#verify")
    await page.until(f"{SAID}.startsWith('The log is whole: 5 rows')")
    assert len(page.complaints) == 1
    assert "status of 422" in page.complaints[0]  # the arm that is nowhere; the browser notes it


async def test_an_alert_is_silenced_and_heard_again(start: Start, page: Tab) -> None:
    running = await start(terms=terms())
    await running.settled("/api/alerts", lambda found: found["alerts"])
    await page.goto(f"{running.console}/alerts")
    await dialog(page, "#new-silence", "Silence an alert")
    for field, text in (("alertname", "CostHigh"), ("role", "worker"), ("author", "ada")):
        await page.fill(f"#field-{field}", text)
    await page.fill("#field-comment", "a load test")
    await submit(page)
    await page.until(f"{SAID} === 'CostHigh is silent for 2 h.'")
    await page.sees("alertname=CostHigh, role=worker")
    await page.sees("mutes it")
    await page.click("#silences button")
    await submit(page)
    await page.until(f"{SAID} === 'The silence is over.'")
    await page.sees("expired")
    await page.click("#alerts button[aria-label='Explain Watchdog']")
    await page.sees("First question:")
    await page.press("Escape", 27)
    await page.click("#quiet summary")
    await page.click("#quiet-alerts button[aria-label='Explain QualityLow for worker']")
    await page.sees("mean 0.60: median delay")
    shown = await page.run("document.querySelector('dialog[open]').innerText")
    assert "undefined" not in shown
    assert page.complaints == []


async def test_an_alert_that_fires_is_acknowledged_and_its_role_let_go(
    start: Start, page: Tab
) -> None:
    running = await start(terms=terms())
    await running.writer.submit(failures("planner", 40))
    await running.settled("/api/roles", lambda board: board["roles"])
    running.clock.advance(600)  # the steps' time to be graded is over
    await running.settled("/api/alerts/armed", lambda found: found["unsafe_roles"])
    await page.goto(f"{running.console}/alerts")
    await page.sees("fallen back")
    acknowledge = "#alerts button[aria-label='Acknowledge QualityLow for planner']"
    await dialog(page, acknowledge, "Acknowledge QualityLow for planner")
    await page.fill("#field-author", "ada")
    await submit(page)  # the browser holds the form back: nobody said what is known
    assert await page.run("document.querySelector('#field-comment').validity.valueMissing")
    await page.fill("#field-comment", "the new prompt; rolled back")
    await submit(page)
    await page.until(f"{SAID} === 'QualityLow for planner is acknowledged.'")
    await page.until(f"document.querySelector({acknowledge!r}) === null")
    found = await running.get("/api/alerts/armed")
    assert found["unsafe_roles"] == []
    listed = (await running.get("/api/alerts?role=planner"))["alerts"]
    low = next(one for one in listed if one["name"] == "QualityLow")
    assert low["state"] == "resolved"
    assert (low["acknowledged"]["author"], low["acknowledged"]["comment"]) == (
        "ada", "the new prompt; rolled back",
    )  # fmt: skip
    assert page.complaints == []


@pytest.mark.parametrize("way", ["Escape", "Go back"])
async def test_going_back_changes_nothing_and_returns_the_focus(
    start: Start, page: Tab, way: str
) -> None:
    running = await start(terms=terms())
    await page.goto(f"{running.console}/policy")
    await page.until("!!document.querySelector('#freeze')")
    await page.run("document.querySelector('#freeze').focus()")
    await page.press("Enter", 13)
    await page.until("document.activeElement.closest('dialog') !== null")
    if way == "Escape":
        await page.press("Escape", 27)
    else:
        await page.click("dialog[open] .buttons button[type=button]")
    await page.until("document.querySelector('dialog') === null")
    assert await page.run("document.activeElement.id") == "freeze"
    assert await running.get("/api/policy/holds") == {"holds": []}
