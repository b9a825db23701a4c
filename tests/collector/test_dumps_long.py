"""Many spans in one file: all are counted, in bounded memory.

With TIERWISE_LONG=1 it is a million; `-s` prints the seconds and the megabytes.
"""

import gzip
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from evals.bench.spans import ROLES, Template

SPANS = 512
LONG = os.environ.get("TIERWISE_LONG") == "1"
BATCHES = 1_954 if LONG else 40
START_NS = 1_790_000_000_000_000_000
RESIDENT_MB_MAX = 1_200
PROGRAM = "from router.cli.app import run; raise SystemExit(run())"
# A process of its own, whose children are the audit's only: nothing other tests started counts.
METER = """
import json, resource, subprocess, sys
code = subprocess.run(sys.argv[1:]).returncode
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([used.ru_utime + used.ru_stime, used.ru_maxrss / 1024]), file=sys.stderr)
raise SystemExit(code)
"""


@pytest.mark.timeout(900 if LONG else 60)
def test_every_span_of_a_large_dump_is_counted_in_bounded_memory(tmp_path: Path) -> None:
    rng = random.Random(1)
    template = Template(SPANS, seed=1)
    dump = tmp_path / "spans.pb"
    with dump.open("wb") as file:
        for number in range(BATCHES):
            body = gzip.decompress(template.body(rng, start_ns=START_NS + number * 10**9))
            file.write(len(body).to_bytes(4, "big") + body)
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", METER, sys.executable, "-c", PROGRAM, "audit", str(dump), "--json"],
        cwd=tmp_path, capture_output=True, check=True,
    )  # fmt: skip
    seconds = time.perf_counter() - started
    processor_seconds, resident_mb = json.loads(done.stderr.splitlines()[-1])
    report = json.loads(done.stdout)
    sys.stdout.write(
        f"{report['calls']:,} spans, {dump.stat().st_size / 1e6:,.0f} MB: {seconds:.1f} s, "
        f"{processor_seconds:.1f} s of processor time, {resident_mb:,.0f} MB\n"
    )
    assert report["calls"] == SPANS * BATCHES
    assert {step["step"] for step in report["steps"]} == set(ROLES)
    assert resident_mb < RESIDENT_MB_MAX
