import pytest

from router.callers import Caller, Callers
from router.config import KeyConfig
from telemetry.errors import ConfigError, PolicyDenied, Unauthorized

SECRET = "tw-0123456789abcdef"
OTHER = "tw-fedcba9876543210"
KEYS = [
    KeyConfig(name="support", key_env="KEY_SUPPORT", role="worker", roles=("worker", "planner")),
    KeyConfig(name="batch", key_env="KEY_BATCH", budget="night"),
]
ENVIRONMENT = {"KEY_SUPPORT": SECRET, "KEY_BATCH": OTHER}


def test_a_key_is_known_from_either_header() -> None:
    callers = Callers(KEYS, ENVIRONMENT)
    support = Caller(
        name="support", role="worker", roles=frozenset({"worker", "planner"}), budget=None
    )
    assert callers.identify(f"Bearer {SECRET}".encode(), None) == support
    assert callers.identify(f"bearer  {SECRET} ".encode(), None) == support
    assert callers.identify(None, SECRET.encode()) == support
    batch = callers.identify(None, OTHER.encode())
    assert batch == Caller(name="batch", role=None, roles=None, budget="night")


def test_without_configured_keys_everybody_is_nobody() -> None:
    callers = Callers([], {})
    assert callers.identify(None, None) is None
    assert callers.identify(b"Bearer whatever", b"x") is None


@pytest.mark.parametrize(
    ("authorization", "api_key", "code"),
    [
        (None, None, "missing_key"),
        (b"", b"", "missing_key"),
        (b"Bearer ", None, "missing_key"),
        (b"Basic dTpw", None, "missing_key"),
        (SECRET.encode(), None, "missing_key"),
        (b"Bearer wrong", None, "unknown_key"),
        (None, b"wrong", "unknown_key"),
        (f"Bearer {SECRET}x".encode(), None, "unknown_key"),
        (f"Bearer {SECRET[:-1]}".encode(), None, "unknown_key"),
        ("Bearer ключ".encode(), None, "unknown_key"),
    ],
)
def test_a_missing_or_wrong_key_is_refused(
    authorization: bytes | None, api_key: bytes | None, code: str
) -> None:
    with pytest.raises(Unauthorized) as refused:
        Callers(KEYS, ENVIRONMENT).identify(authorization, api_key)
    assert refused.value.code == code
    assert refused.value.status == 401


def test_a_key_may_use_its_roles_and_no_other() -> None:
    caller = Callers(KEYS, ENVIRONMENT).identify(None, SECRET.encode())
    assert caller is not None
    caller.must_hold("planner")
    with pytest.raises(PolicyDenied, match="'support' may not use role 'critic'") as refused:
        caller.must_hold("critic")
    assert refused.value.code == "role_not_allowed"
    assert "planner, worker" in refused.value.hint


def test_a_key_without_roles_may_use_every_role() -> None:
    caller = Callers(KEYS, ENVIRONMENT).identify(None, OTHER.encode())
    assert caller is not None
    caller.must_hold("anything")


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"KEY_BATCH": OTHER}, "KEY_SUPPORT is unset"),
        ({"KEY_SUPPORT": "short", "KEY_BATCH": OTHER}, "KEY_SUPPORT is under 16 characters"),
        ({"KEY_SUPPORT": SECRET, "KEY_BATCH": SECRET}, "'support' and 'batch' are the same"),
    ],
)
def test_keys_that_cannot_protect_are_refused_at_the_start(
    environment: dict[str, str], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        Callers(KEYS, environment)


def test_no_secret_is_kept() -> None:
    callers = Callers(KEYS, ENVIRONMENT)
    kept = repr(vars(callers)) + repr(callers)
    assert SECRET not in kept
    assert OTHER not in kept
