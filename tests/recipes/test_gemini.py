"""The real Gemini CLI, with the telemetry of our page, before a stand-in of its provider."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.httpd import Quiet, listening
from tests.needs import program
from tests.recipes.page import exported
from tests.recipes.world import agents, calls, world

pytestmark = pytest.mark.timeout(300)
# Statistics and updates off; the kind of login is asked for otherwise.
SETTINGS = {
    "security": {"auth": {"selectedType": "gemini-api-key"}},
    "privacy": {"usageStatisticsEnabled": False},
    "general": {"enableAutoUpdate": False, "enableAutoUpdateNotification": False},
}
# Thoughts are billed as output and stand outside of it; cached tokens are part of the prompt.
BILL = {
    "promptTokenCount": 120, "candidatesTokenCount": 7, "thoughtsTokenCount": 13,
    "cachedContentTokenCount": 20, "totalTokenCount": 140,
}  # fmt: skip
ANSWER = {
    "candidates": [
        {"content": {"parts": [{"text": "Hello there"}], "role": "model"}, "finishReason": "STOP"}
    ],
    "usageMetadata": BILL,
    "modelVersion": "gemini-2.5-flash",
}


@contextmanager
def provider() -> Iterator[str]:
    """Speak as much of Gemini's API as one streamed answer needs."""

    class Handler(Quiet):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            assert ":streamGenerateContent" in self.path
            body = f"data: {json.dumps(ANSWER)}\r\n\r\n".encode()
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with listening(Handler) as port:
        yield f"http://127.0.0.1:{port}"


def test_gemini_cli_is_counted_with_the_provider_s_bill(tmp_path: Path) -> None:
    script = agents() / "@google" / "gemini-cli" / "bundle" / "gemini.js"
    settings = tmp_path / "home" / ".gemini" / "settings.json"
    settings.parent.mkdir(parents=True)
    settings.write_text(json.dumps(SETTINGS))
    with world(tmp_path) as house, provider() as address:
        more = dict(exported("gemini-cli", house)) | {
            "GEMINI_API_KEY": "any", "GOOGLE_GEMINI_BASE_URL": address,
        }  # fmt: skip
        flags = ["-m", "gemini-2.5-flash", "--skip-trust", "-p", "Say hello"]
        assert "Hello there" in house.run([program("node"), script, *flags], more=more).stdout
        house.settle(1)
        assert house.outside.tried == []
    (call,) = calls(house.store)
    assert (call["counted"], call["dialect"], call["role"]) == (True, "coding_agent", "main")
    assert (call["input_tokens"], call["output_tokens"]) == (120, 7 + 13)
    assert call["cache_read_tokens"] == 20
    assert call["model_requested"] == "gemini-2.5-flash"
    # By the catalogue: 0.30 a million in, 0.03 cached, 2.50 out, thoughts included.
    assert call["cost_usd"] == pytest.approx((100 * 0.30 + 20 * 0.03 + 20 * 2.50) / 1e6)
