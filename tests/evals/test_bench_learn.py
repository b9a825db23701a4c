from evals.bench.learn import PARTS, Size, measure


def test_every_part_is_measured_and_reported() -> None:
    made: list[int] = []
    told: list[str] = []
    report = measure(
        Size(rows=2_000, rows_per_tick=200, roles=3),
        decide=lambda: made.append(1),
        tell=told.append,
    )
    assert len(made) == 22_000
    assert len(told) == 3
    assert len(report.tick_ms) == PARTS
    value = report.as_dict()
    assert value["size"]["roles"] == 3
    positive = [*value["tick_ms"], *value["solve_ms"], *value["decide_us"]]
    positive += [value["replay_seconds"], value["replay_cpu_seconds"]]
    assert min(positive) > 0
