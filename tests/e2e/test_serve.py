"""The service as a whole: real processes, real ports, real signals."""

import concurrent.futures
import json
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.serving import (
    FRAMES,
    FREE,
    FREE_COLLECTOR,
    POLICY,
    TIERWISE,
    Provider,
    Service,
    Stream,
    provider,
    until,
    write_files,
)

Start = Callable[..., Service]
STREAMS = 50


@pytest.fixture
def upstream() -> Iterator[Provider]:
    with provider() as running:
        yield running


@pytest.fixture
def start(tmp_path: Path, upstream: Provider) -> Iterator[Start]:
    services: list[Service] = []

    def started(
        command: str = "gateway", *flags: str, more: str = "", plain: bool = False
    ) -> Service:
        files = write_files(tmp_path, upstream.port, more=more)
        service = Service(
            [command, *files, *([] if plain else FREE), *flags],
            log=tmp_path / f"log-{len(services)}",
            variables={"TIERWISE_LOG_LEVEL": "WARNING"},
        )
        services.append(service)
        return service

    yield started
    for service in services:
        service.close()


def connects(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except OSError:
        return False
    return True


def test_a_step_goes_through_and_sigterm_ends_it_well(start: Start) -> None:
    service = start().ready()
    status, who = service.ask("GET", "/livez")
    assert (status, who["service"], who["worker"]) == (200, "tierwise", "gateway-0")
    assert service.step() == 200
    service.process.send_signal(signal.SIGTERM)
    assert service.ends() == 0


def test_a_step_in_flight_is_finished_and_nobody_new_is_let_in(
    start: Start, upstream: Provider
) -> None:
    service = start().ready()
    upstream.let_go.clear()
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        steps = [pool.submit(service.step) for _ in range(4)]
        for _ in steps:
            assert upstream.arrived.acquire(timeout=30)
        service.process.send_signal(signal.SIGTERM)
        service.event("draining")
        until(lambda: not connects(service.address), "the port's end")
        upstream.let_go.set()
        assert [step.result(30) for step in steps] == [200] * 4
    assert service.ends() == 0


def test_streams_that_have_begun_are_finished(start: Start, upstream: Provider) -> None:
    service = start().ready()
    upstream.let_go.clear()
    streams = [Stream(service.address) for _ in range(STREAMS)]
    assert [stream.first() for stream in streams] == [FRAMES[0]] * STREAMS
    service.process.send_signal(signal.SIGTERM)
    service.event("draining")
    upstream.let_go.set()
    assert [stream.rest() for stream in streams] == [b"".join(FRAMES[1:])] * STREAMS
    assert service.ends() == 0


def test_a_killed_worker_is_replaced_while_the_other_serves(start: Start) -> None:
    service = start(more="[gateway]\nworkers = 2\n").ready()
    seen: set[str] = set()

    def both_serve() -> bool:
        seen.add(service.ask("GET", "/livez")[1]["worker"])
        return seen == {"gateway-0", "gateway-1"}

    until(both_serve, "both workers' answers")
    first = service.pids["gateway-0"]
    os.kill(first, signal.SIGKILL)
    exited = service.event("exited", "gateway-0")
    assert (exited["pid"], exited["exit_code"]) == (first, -signal.SIGKILL)
    assert [service.step() for _ in range(5)] == [200] * 5
    service.event("started", "gateway-0")
    assert service.pids["gateway-0"] != first
    seen.clear()
    until(both_serve, "both workers' answers")


def test_several_workers_keep_one_set_of_metrics_and_leave_nothing_behind(
    start: Start, tmp_path: Path
) -> None:
    state = tmp_path / ".tierwise"
    stale = state / "metrics-999999999"
    stale.mkdir(parents=True)
    service = start(more="[gateway]\nworkers = 2\n").ready()
    assert [folder.name for folder in state.glob("metrics-*")] == [f"metrics-{service.process.pid}"]
    assert service.step() == 200
    service.process.send_signal(signal.SIGTERM)
    assert service.ends() == 0
    assert list(state.glob("metrics-*")) == []


def test_workers_end_when_their_parent_is_killed(start: Start) -> None:
    service = start().ready()
    service.process.kill()
    until(lambda: not connects(service.address), "the port's end")


def test_a_dead_collector_never_stops_the_gateway(start: Start) -> None:
    service = start("serve", *FREE_COLLECTOR)
    service.event("started", "collector")
    service.ready()
    os.kill(service.pids["collector"], signal.SIGKILL)
    service.event("exited", "collector")
    assert service.step() == 200
    service.process.send_signal(signal.SIGTERM)
    assert service.ends() == 0


def test_the_collector_alone_is_started_again_and_ends_well(start: Start) -> None:
    service = start("collector", *FREE_COLLECTOR, plain=True)
    addresses = service.event("ready")["addresses"]
    assert set(addresses) == {"console", "otlp_http", "otlp_grpc"}
    os.kill(service.pids["collector"], signal.SIGKILL)
    assert service.event("exited")["exit_code"] == -signal.SIGKILL
    service.event("started")
    until(lambda: connects(addresses["console"].removeprefix("http://")), "the restart")
    service.process.send_signal(signal.SIGINT)
    assert service.ends() == 130


def test_a_collector_that_cannot_read_its_store_is_never_ready_and_ends_with_the_reason(
    tmp_path: Path, upstream: Provider
) -> None:
    store = tmp_path / "store.duckdb"
    store.write_bytes(b"no database, but a file of somebody's own\n")
    files = write_files(tmp_path, upstream.port)
    done = subprocess.run(
        [TIERWISE, "collector", *files, *FREE_COLLECTOR, "--store", str(store)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    *_, said, remedy = done.stderr.splitlines()
    assert said.startswith(f"error: collector ended 5 times while starting: {store}: ")
    assert remedy.startswith("  next: the file is damaged: restore a copy")


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_spans_of_a_step_reach_the_collector_beside_the_gateway(
    start: Start, protocol: str
) -> None:
    service = start("serve", *FREE_COLLECTOR, more=f'[telemetry]\nprotocol = "{protocol}"\n')
    addresses = service.event("ready")["addresses"]
    service.address = addresses["gateway"].removeprefix("http://")
    assert service.step() == 200
    service.address = addresses["console"].removeprefix("http://")

    def roles() -> list[str]:
        found = service.ask("GET", "/api/decisions")[1]["decisions"]
        return [decision["role"] for decision in found]

    until(roles, "the decision in the collector's API")
    assert roles() == ["planner"]
    service.process.send_signal(signal.SIGTERM)
    assert service.ends() == 0


def test_a_reload_takes_a_new_policy_and_keeps_the_old_one_against_a_broken_one(
    start: Start, tmp_path: Path
) -> None:
    service = start().ready()
    policy = tmp_path / "policy.toml"

    def ready() -> dict[str, str]:
        found: dict[str, str] = service.ask("GET", "/readyz")[1]
        return found

    first = ready()["policy"]
    policy.write_text(POLICY + "[roles.critic]\n")
    service.process.send_signal(signal.SIGHUP)
    until(lambda: ready()["policy"] != first, "the new policy")
    second = ready()["policy"]
    policy.write_text(POLICY + "[roles.critic]\ntear = 'small'\n")
    service.process.send_signal(signal.SIGHUP)
    until(lambda: ready()["reload_error"], "the refusal")
    found = ready()
    assert found["policy"] == second
    assert "did you mean 'tier'?" in found["reload_error"]
    assert service.step() == 200


def test_the_service_outlives_whoever_read_its_output(start: Start) -> None:
    service = start().ready()
    assert service.process.stdout is not None
    service.process.stdout.close()
    first = service.ask("GET", "/livez")[1]
    os.kill(service.pids["gateway-0"], signal.SIGKILL)
    until(lambda: "gateway-0 ended with SIGKILL" in service.log(), "the restart")
    assert service.ask("GET", "/livez")[1] == first
    service.process.send_signal(signal.SIGTERM)
    assert service.process.wait(30) == 0


def test_the_service_ends_with_the_terminal_it_was_started_in(
    tmp_path: Path, upstream: Provider
) -> None:
    files = write_files(tmp_path, upstream.port)
    screen, terminal = os.openpty()
    process = subprocess.Popen(
        [TIERWISE, "gateway", *files, *FREE],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env=os.environ | {"NO_COLOR": "1", "TERM": "xterm"},
    )
    os.close(terminal)
    try:
        said = b""
        while b"claude-tierwise-<role>" not in said:
            said += os.read(screen, 4_096)
        assert b"\x1b" not in said
        process.send_signal(signal.SIGHUP)
        while b"SIGHUP: both files are read again" not in said:
            said += os.read(screen, 4_096)
        assert process.poll() is None
        os.close(screen)
        process.send_signal(signal.SIGHUP)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait(30)


def test_doctor_knows_our_gateway_and_misses_its_collector(start: Start, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        away = f'"127.0.0.1:{unused.getsockname()[1]}"'
    keys = "\n".join(f"{key} = {away}" for key in ("otlp_http", "otlp_grpc", "console"))
    service = start(more=f"[collector]\n{keys}\n").ready()
    files = [f"--config={tmp_path}/tierwise.toml", f"--policy={tmp_path}/policy.toml"]
    done = subprocess.run(
        [TIERWISE, "doctor", "--json", *files, "--gateway", service.address],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert done.returncode == 1
    assert checks["gateway"]["message"] == f"ours runs at {service.address}"
    assert [name for name, check in checks.items() if check["status"] == "fail"] == [
        "collector otlp_http",
        "collector otlp_grpc",
        "collector console",
    ]
    assert "tierwise collector" in checks["collector console"]["mend"]


def test_a_taken_port_is_told_before_anything_starts(tmp_path: Path, upstream: Provider) -> None:
    files = write_files(tmp_path, upstream.port)
    done = subprocess.run(
        [TIERWISE, "serve", *files, *FREE_COLLECTOR, "--gateway", f"127.0.0.1:{upstream.port}"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    said, remedy = done.stderr.splitlines()
    assert said.startswith(f"error: --gateway: 127.0.0.1:{upstream.port} is already in use")
    assert remedy == "  next: stop that process, or choose another port with --gateway"


def test_two_addresses_that_are_one_are_told(tmp_path: Path, upstream: Provider) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
    files = write_files(tmp_path, upstream.port)
    same = ["--gateway", address, "--otlp-http", address, *FREE_COLLECTOR[1:]]
    done = subprocess.run(
        [TIERWISE, "serve", *files, *same], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 2
    assert f"--otlp-http: {address} is already in use" in done.stderr


@pytest.mark.parametrize("command", ["serve", "gateway"])
def test_an_unset_key_ends_with_2_and_the_remedy(
    command: str, tmp_path: Path, upstream: Provider
) -> None:
    files = write_files(tmp_path, upstream.port, more='key_env = "NOBODY_SETS_THIS"\n')
    done = subprocess.run(
        [TIERWISE, command, *files, *FREE], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert (
        "environment variable NOBODY_SETS_THIS is not set, but [providers.one] of tierwise.toml "
        "wants it\n  next: export NOBODY_SETS_THIS=... before starting\n"
    ) in done.stderr


@pytest.mark.parametrize("command", ["serve", "collector"])
def test_an_unset_token_of_the_collector_ends_with_2_before_anything_listens(
    command: str, tmp_path: Path, upstream: Provider
) -> None:
    files = write_files(
        tmp_path, upstream.port, more='[collector]\ntoken_env = "NOBODY_SETS_THIS"\n'
    )
    free = FREE_COLLECTOR + (FREE if command == "serve" else [])
    done = subprocess.run(
        [TIERWISE, command, *files, *free], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "error: collector.token_env names NOBODY_SETS_THIS, which is not set\n"
        "  next: set NOBODY_SETS_THIS or remove the key\n"
    )


def test_people_are_told_where_and_how(tmp_path: Path, upstream: Provider) -> None:
    files = write_files(tmp_path, upstream.port)
    with subprocess.Popen(
        [TIERWISE, "gateway", *files, *FREE],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(6)]
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == ""
        assert process.wait(30) == 130
    url = lines[1].split()[1]
    assert lines == [
        "tierwise is ready\n",
        f"  gateway    {url}\n",
        "  roles      default, planner\n",
        "Point an agent at it:\n",
        f"  OPENAI_BASE_URL={url}/v1      model tierwise/<role>\n",
        f"  ANTHROPIC_BASE_URL={url}   model claude-tierwise-<role>\n",
    ]
