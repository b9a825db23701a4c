"""The webhook's signature, by the example that the Standard Webhooks libraries share."""

import base64
import hashlib
import hmac
from pathlib import Path

import pytest

from collector.sinks.webhook import secret_of, signature
from telemetry.errors import ConfigError
from tests.collector.sinks.posting import SECRET, posting, webhook
from tests.collector.sinks.receiver import receiving


def test_the_published_example_has_the_published_signature() -> None:
    found = signature(
        secret_of(SECRET, source="S"),
        message_id="msg_p5jXN8AQM9LWM0D4loKWxJek",
        timestamp=1_614_265_330,
        body=b'{"test": 2432232314}',
    )
    assert found == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("text", ["whsec_", "whsec_c2hvcnQ=", "not base64 at all!", "whsec_äöü"])
def test_what_is_no_secret_is_refused_without_being_repeated(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        secret_of(text, source="HOOK_SECRET")
    assert "HOOK_SECRET" in str(caught.value)
    assert text not in caught.value.message


async def test_a_receiver_can_check_what_it_got(tmp_path: Path) -> None:
    async with receiving() as receiver:
        environment = {"HOOK": receiver.url, "SECRET": SECRET}
        async with posting(tmp_path, environment, webhook(secret_env="SECRET")) as post:
            await post.poster.test()
        (got,) = receiver.received
        stamp = got.headers["webhook-timestamp"]
        assert stamp == str(post.clock.now_ns() // 10**9)
        signed = f"{got.headers['webhook-id']}.{stamp}.".encode() + got.body
        key = base64.b64decode(SECRET.removeprefix("whsec_"))
        wanted = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        assert got.headers["webhook-signature"] == f"v1,{wanted}"
