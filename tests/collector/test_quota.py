from collector.quota import HOUR_NS, SOURCES_MAX, Quota


def test_each_source_has_an_hour_of_its_own() -> None:
    quota = Quota(2)
    assert [quota.wait_seconds("a", now_ns=0) for _ in range(3)] == [None, None, 3_600]
    assert quota.wait_seconds("b", now_ns=0) is None
    assert quota.wait_seconds("a", now_ns=HOUR_NS - 1) == 1
    assert quota.wait_seconds("a", now_ns=HOUR_NS) is None


def test_invented_names_share_one_count_once_there_are_too_many() -> None:
    quota = Quota(3)
    taken = sum(quota.wait_seconds(f"s{n}", now_ns=0) is None for n in range(10 * SOURCES_MAX))
    assert taken == SOURCES_MAX + 3
    assert len(quota._taken) == SOURCES_MAX + 1
