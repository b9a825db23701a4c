import pytest

from router import aliases
from router.policy import Policy
from router.reload import build
from telemetry.errors import InvalidRequest
from tests.harness import POLICY, TODAY, config_for


@pytest.fixture(scope="module")
def policy() -> Policy:
    return build(config_for(9), POLICY, environment={}, today=TODAY).policy


def test_every_role_has_both_aliases_and_every_model_stands_once(policy: Policy) -> None:
    roles = ["auto", "chatter", "default", "extractor", "planner", "worker"]
    models = ["frontier", "mid", "small"]
    assert [name for name, _ in aliases.names(policy)] == [
        *(f"tierwise/{role}" for role in roles),
        *(f"claude-tierwise-{role}" for role in roles),
        "embedder/standin-embedding",
        *(f"standin/standin-{model}" for model in models),
    ]


def test_the_listing_is_a_page_for_both_vendors_clients(policy: Policy) -> None:
    page = aliases.listing(policy)
    assert page["object"] == "list"
    assert page["has_more"] is False
    assert (page["first_id"], page["last_id"]) == ("tierwise/auto", "standin/standin-small")
    first = page["data"][0]
    assert first["object"] == first["type"] == "model"
    assert first["display_name"] == "by the step's role"
    assert isinstance(first["created"], int)


def test_one_name_is_found_and_a_strange_one_is_not(policy: Policy) -> None:
    assert aliases.find(policy, "tierwise/worker")["display_name"] == "role worker"
    assert aliases.find(policy, "standin/standin-mid")["id"] == "standin/standin-mid"
    with pytest.raises(InvalidRequest) as refused:
        aliases.find(policy, "tierwise/nobody")
    assert refused.value.code == "not_found"
