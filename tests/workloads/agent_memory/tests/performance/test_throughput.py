"""Operations per second, measured by pytest-benchmark. Nothing is asserted about the time: machines differ."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from agent_memory import Store

MANY = 200
CONCURRENT = 50


@pytest.fixture(params=["postgres", "redis"])
def store(request: pytest.FixtureRequest) -> Store:
    found: Store = request.getfixturevalue(f"{request.param}_store")
    return found


def measured(benchmark: BenchmarkFixture, operations: int) -> None:
    """So many operations in a round: their rate stands in the report."""
    benchmark.extra_info["operations"] = operations
    if benchmark.stats:
        benchmark.extra_info["operations_per_second"] = round(operations / benchmark.stats.stats.median, 1)


def test_single_writes(benchmark: BenchmarkFixture, store: Store) -> None:
    benchmark.pedantic(lambda: [store.put("a", str(n), {"n": n}) for n in range(MANY)], rounds=3)
    measured(benchmark, MANY)
    assert store.stats().memories == MANY


def test_bulk_writes(benchmark: BenchmarkFixture, store: Store) -> None:
    values = {str(n): {"n": n} for n in range(MANY * 5)}
    assert benchmark.pedantic(store.put_many, args=("a", values), rounds=3) == len(values)
    measured(benchmark, len(values))


def test_reads(benchmark: BenchmarkFixture, store: Store) -> None:
    store.put_many("a", {str(n): {"n": n} for n in range(MANY)})
    found = benchmark.pedantic(lambda: [store.get("a", str(n)) for n in range(MANY)], rounds=3)
    measured(benchmark, MANY)
    assert all(found)


def test_pattern_search(benchmark: BenchmarkFixture, store: Store) -> None:
    store.put_many("a", {f"{n % 10}:{n}": n for n in range(MANY * 5)})
    found = benchmark.pedantic(lambda: store.find("a", "3:*"), rounds=3)
    measured(benchmark, 1)
    assert len(found) == MANY / 2


def test_fifty_at_the_same_time(benchmark: BenchmarkFixture, store: Store) -> None:
    with ThreadPoolExecutor(CONCURRENT) as pool:
        benchmark.pedantic(lambda: list(pool.map(lambda n: store.put("a", str(n), n), range(CONCURRENT))), rounds=3)
    measured(benchmark, CONCURRENT)
    assert store.stats().memories == CONCURRENT
