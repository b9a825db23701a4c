"""What a command loads before it does anything."""

import subprocess
import sys

# Large packages that only some commands need, each a twentieth of a second or more.
SPARED = ("aiohttp", "duckdb", "fastapi", "genai_prices", "numpy", "prometheus_client", "scipy")


def test_no_command_waits_for_what_only_others_need() -> None:
    program = (
        "import sys; from router.cli.app import run; run(['--help']); "
        f"print([name for name in {SPARED!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
