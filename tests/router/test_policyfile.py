"""policy.toml: what its form accepts and how it refuses the rest."""

import pytest

from telemetry.errors import ConfigError
from tests.router.declared import LADDER, WORKER, policy_file

PIN = 'pin = { model = "local/tiny", reason = "it stays here", owner = "dpo@example.com" }\n'


def fault(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        policy_file(text)
    return str(caught.value)


@pytest.mark.parametrize(
    ("written", "where", "said"),
    [
        ('[roles.worker]\nteir = "mid"\n', "roles.worker.teir", "did you mean 'tier'?"),
        ('[roles.worker]\nchekcs = ["x"]\n', "roles.worker.chekcs", "did you mean 'checks'?"),
        ('[roles.worker]\nlearn = "on"\n', "roles.worker.learn", "'off', 'observe'"),
        ('[roles.worker]\non_fail = "retry"\n', "roles.worker.on_fail", "'accept', 'step'"),
        (
            "[roles.worker]\nquality_floor = 90\n",
            "roles.worker.quality_floor",
            "less than or equal",
        ),
        ("[roles.worker]\nquality_floor = nan\n", "roles.worker.quality_floor", "finite"),
        ('[roles.worker]\nrange = ["mid"]\n', "roles.worker.range", "missing"),
        ("[roles.Worker]\n", "roles.Worker", "'Worker' is not a name"),
        ("[roles.w.mode.debate]\nmode = 1\n", "roles.w.mode.debate.mode", "unknown key"),
        ("[roles.w]\n" + PIN.replace("reason", "raison"), "roles.w.pin.raison", "'reason'?"),
        ("[roles.w]\n" + PIN.replace("local/tiny", "tiny"), "roles.w.pin.model", "provider/model"),
        ('[[shapes]]\nrole = "w"\n', "shapes.0", "has no condition"),
        ('[[shapes]]\nrole = "w"\ntool = true\n', "shapes.0.tool", "did you mean 'tools'?"),
        ("[alerts.cost]\nbudget_usd_per_day = 0\n", "alerts.cost", "greater than 0"),
        (
            '[[alerts.notify]]\nkind = "webhook"\nurl_env = "https://hooks.example/T0/B1"\n',
            "alerts.notify.0.url_env",
            "the name of an environment variable",
        ),
    ],
)
def test_a_fault_names_the_place_and_what_is_right(written: str, where: str, said: str) -> None:
    message = fault(LADDER + written)
    assert f"policy.toml: {where}" in message
    assert said in message


@pytest.mark.parametrize(
    ("models", "said"),
    [
        ("[]", "tiers.small.models"),
        ('["gpt-5.5"]', "is not provider/model"),
        ('["local/a b"]', "is not provider/model"),
        ('["local/tiny", "local/tiny"]', "stands twice"),
    ],
)
def test_a_tier_lists_each_model_once_as_provider_and_model(models: str, said: str) -> None:
    assert said in fault(LADDER.replace('["local/tiny"]', models))


@pytest.mark.parametrize("field", ["model", "stream", "messages", "input", "stream_options"])
def test_a_tier_cannot_set_what_the_gateway_or_the_caller_decides(field: str) -> None:
    said = fault(LADDER.replace("reasoning_effort =", f"{field} ="))
    assert f"chat.{field} is not a tier's to set" in said


@pytest.mark.parametrize("value", ["2026-11-22", "nan", "[inf]"])
def test_a_parameter_is_something_that_json_can_say(value: str) -> None:
    assert "tiers.mid.params" in fault(LADDER.replace('effort = "low"', f"effort = {value}"))


def test_parameters_are_per_dialect() -> None:
    assert "tiers.mid.params" in fault(LADDER.replace("params.chat", "params.chatt"))
    nested = policy_file(LADDER.replace('"low"', '{ effort = "low", budget = [1, 2.5, true] }'))
    (fields,) = nested.tiers["mid"].params.values()
    assert fields == {"reasoning_effort": {"effort": "low", "budget": [1, 2.5, True]}}


def test_a_pin_needs_a_reason_and_an_owner() -> None:
    text = LADDER + '[roles.w]\npin = { model = "local/tiny" }\n'
    said = fault(text)
    assert "roles.w.pin.reason: is missing" in said
    assert "roles.w.pin.owner: is missing" in said


def test_a_date_is_a_date() -> None:
    loaded = policy_file(LADDER + "[roles.w]\n" + PIN.replace(" }", ", until = 2027-06-30 }"))
    pin = loaded.roles["w"].pin
    assert pin is not None
    assert str(pin.until) == "2027-06-30"


def test_a_policy_without_roles_is_a_policy() -> None:
    assert policy_file(LADDER).roles == {}
    assert not policy_file(LADDER).callers.pins


def test_a_role_may_leave_everything_open() -> None:
    role = policy_file(LADDER + WORKER + "[roles.open]\n").roles["open"]
    assert (role.tier, role.range, role.learn, role.pin) == (None, None, None, None)
