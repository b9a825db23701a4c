"""tierwise.toml: what its form accepts and how it refuses the rest."""

import pytest

from router.config import is_loopback
from telemetry.errors import ConfigError
from tests.router.declared import CANARY, CONFIG, config

PROVIDER = '\n[providers.extra]\nbase_url = "http://127.0.0.1:1"\ndialects = ["chat"]\n'
KEY = '[[keys]]\nname = "ci"\nkey_env = "CI_KEY"\n'


def fault(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        config(text)
    return str(caught.value)


def test_the_smallest_file_has_a_schema_and_a_provider() -> None:
    loaded = config("schema = 1" + PROVIDER)
    assert loaded.gateway.listen == "127.0.0.1:8080"
    assert loaded.gateway.timeouts.first_byte_seconds == 120.0
    assert loaded.keys == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (PROVIDER, "schema: is missing"),
        ("schema = 2" + PROVIDER, "schema: "),
        ("schema = 1", "providers: is missing"),
        ("schema = 1\n[providers]", "providers: "),
    ],
)
def test_what_every_file_needs_is_asked_for(text: str, said: str) -> None:
    assert f"tierwise.toml: {said}" in fault(text)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("[gatway]\n", "'gateway'"),
        ("[gateway]\nworker = 2\n", "'workers'"),
        ("[gateway.timeouts]\nidle = 2\n", "'idle_seconds'"),
        (PROVIDER + 'kee_env = "K"\n', "'key_env'"),
        (PROVIDER + '[prices."extra/m"]\ninputs = 1\noutput = 1\n', "'input'"),
        (KEY + 'rol = "worker"\n', "'role'"),
        ('[[telemetry.endpoints]]\nendpoints = "http://x"\n', "'endpoint'"),
    ],
)
def test_a_misspelt_key_names_the_nearest_right_one(written: str, meant: str) -> None:
    assert f"did you mean {meant}?" in fault(CONFIG + written)


def test_a_key_like_no_other_is_told_which_ones_there_are() -> None:
    assert "known here: drain_seconds" not in fault(CONFIG + "[gateway]\nzzzz = 1\n")
    assert "known here: anonymous, body_mb_max" in fault(CONFIG + "[gateway]\nzzzz = 1\n")


@pytest.mark.parametrize("listen", ["8080", ":8080", "localhost", "localhost:http", "h:70000"])
def test_an_address_to_listen_on_is_host_and_port(listen: str) -> None:
    assert "gateway.listen" in fault(CONFIG + f'[gateway]\nlisten = "{listen}"\n')


@pytest.mark.parametrize(
    "url",
    [
        "claude.example",
        "ftp://claude.example",
        "https://",
        "https://claude.example?key=1",
        "https://claude.example#x",
        "https://claude.example:99999",
        f"https://user:{CANARY}@claude.example",
        f"https://{CANARY}@",
    ],
)
def test_a_base_url_is_a_plain_address_and_a_secret_in_it_is_not_shown(url: str) -> None:
    said = fault(CONFIG.replace("https://claude.example", url))
    assert "providers.claude.base_url" in said
    assert CANARY not in said


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        (f'{{ Authorization = "{CANARY}" }}', "key_env"),
        (f'{{ x-api-key = "{CANARY}" }}', "key_env"),
        ('{ host = "elsewhere" }', "base_url"),
        ('{ "bad name" = "x" }', "not a header name"),
        ('{ x-a = "b\\r\\nx-evil: 1" }', "not printable ASCII"),
    ],
)
def test_fixed_headers_hold_no_key_no_host_and_no_line_break(headers: str, said: str) -> None:
    message = fault(CONFIG.replace('system = "openai"', f"headers = {headers}"))
    assert "providers.gpt.headers" in message
    assert said in message
    assert CANARY not in message


def test_a_secret_in_place_of_a_variables_name_is_refused_without_being_shown() -> None:
    said = fault(CONFIG.replace('"CLAUDE_KEY"', f'"{CANARY}"'))
    assert "providers.claude.key_env" in said
    assert "the name of an environment variable" in said
    assert CANARY not in said


def test_a_secret_under_a_key_that_does_not_exist_is_not_shown() -> None:
    said = fault(CONFIG.replace('key_env = "CLAUDE_KEY"', f'key = "{CANARY}"'))
    assert "did you mean 'key_env'?" in said
    assert CANARY not in said


def test_names_are_lower_case_and_short() -> None:
    said = fault(CONFIG.replace("[providers.gpt]", "[providers.GPT]"))
    assert "'GPT' is not a name" in said


def test_no_provider_takes_the_name_that_aliases_have() -> None:
    assert "aliases of roles" in fault(CONFIG.replace("[providers.gpt]", "[providers.tierwise]"))


def test_a_price_must_be_of_a_provider_that_exists() -> None:
    said = fault(CONFIG + '"gtp/big" = { input = 1, output = 1 }\n')
    assert "'gtp/big' names no provider" in said
    assert "known: claude, gpt, local" in said


@pytest.mark.parametrize("price", ["-1", "nan", "inf"])
def test_a_price_is_a_finite_amount(price: str) -> None:
    assert "input" in fault(CONFIG + f'"gpt/x" = {{ input = {price}, output = 1 }}\n')


def test_two_client_keys_do_not_share_a_name() -> None:
    assert "two client keys are called 'ci'" in fault(CONFIG + KEY + KEY)


def test_other_machines_may_call_only_with_a_key_or_when_that_is_said() -> None:
    everywhere = '[gateway]\nlisten = "0.0.0.0:8080"\n'
    said = fault(CONFIG + everywhere)
    assert "reachable from other machines" in said
    assert "[[keys]]" in said
    assert config(CONFIG + everywhere + KEY).keys
    assert config(CONFIG + everywhere + "anonymous = true\n").gateway.anonymous


@pytest.mark.parametrize(
    ("host", "only_here"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("[::1]", True),
        ("0.0.0.0", False),
        ("[::]", False),
        ("10.0.0.1", False),
        ("127.0.0.1.example.com", False),
        ("localhost.example.com", False),
    ],
)
def test_loopback_is_told_from_the_rest(host: str, only_here: bool) -> None:
    assert is_loopback(host) is only_here


def test_a_loaded_configuration_cannot_be_changed() -> None:
    loaded = config()
    with pytest.raises(ValueError, match="frozen"):
        loaded.gateway.workers = 5  # type: ignore[misc]
