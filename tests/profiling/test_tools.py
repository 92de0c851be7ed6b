"""The course's small tools, by both its editions' names."""

import tracemalloc

import numpy as np
import pytest

from tinytorch.models import MLPClassifier
from tinytorch.profiling import (
    FLOPCounter,
    MemoryProfiler,
    Profiler,
    ProfilerContext,
    SimpleProfiler,
    Timer,
    profile_function,
)


def test_timer_counts_runs_after_warm_up():
    calls = []
    stats = Timer().measure(lambda *args, **kwargs: calls.append((args, kwargs)), 2, 5, (1,), {"a": 2})
    assert calls == [((1,), {"a": 2})] * 7
    assert stats["runs"] == 5
    assert 0 < stats["min_ms"] <= stats["p50_ms"] <= stats["p95_ms"] <= stats["p99_ms"] <= stats["max_ms"]


def test_timer_reports(capsys):
    timer = Timer()
    timer.measure(lambda: None, runs=3)
    timer.print_report("nothing")
    assert "nothing: median" in capsys.readouterr().out


def test_memory_of_an_array():
    stats = MemoryProfiler().profile(np.ones, (250_000,), {"dtype": np.float32})
    assert stats["allocated_bytes"] == pytest.approx(1e6, rel=0.05)
    assert stats["result"].shape == (250_000,)
    assert MemoryProfiler().measure(lambda n: np.ones(n).sum(), 250_000)["final_mb"] < 0.5


def test_whoever_traces_memory_goes_on_doing_so():
    tracemalloc.start()
    try:
        MemoryProfiler().profile(np.ones, (10,))
        Profiler().measure_memory(MLPClassifier((4, 3)), (1, 4))
        assert tracemalloc.is_tracing()
    finally:
        tracemalloc.stop()


def test_operations_by_hand():
    counter = FLOPCounter()
    assert counter.count_linear(7, 5, batch_size=3) == 2 * 3 * 7 * 5
    assert counter.count_conv2d(8, 8, 2, 4, 3) == 2 * 6 * 6 * 4 * 2 * 9
    assert counter.count_attention(16, 8) == 2 * (4 * 16 * 8 * 8 + 2 * 16 * 16 * 8)
    assert counter.operation_counts["total_flops"] == sum(counter.profile_breakdown.values())
    counter.reset()
    assert counter.operation_counts == {"multiply": 0, "add": 0, "total_flops": 0}


def test_operations_of_a_model(capsys):
    counter = FLOPCounter()
    flops = counter.count_model_forward(MLPClassifier((4, 3, 2)), (1, 4))
    assert flops == 2 * (4 * 3 + 3 * 2) + 3 + 4
    counter.print_report("MLP")
    assert f"{flops:,}" in capsys.readouterr().out


def test_context_reports_speed_when_it_knows_the_operations(capsys):
    with ProfilerContext("step", timing_runs=2, timing_warmup=1) as profiler:
        assert profiler.profile_function(lambda n: n + 1, (1,)) == 2
        profiler.add_flop_count(2_000)
    text = capsys.readouterr().out
    assert "step: median" in text and "2,000" in text and "GFLOP/s" in text
    with ProfilerContext("empty"):
        pass
    assert "nothing measured" in capsys.readouterr().out


def test_simple_profiler_has_the_course_keys(capsys):
    found = SimpleProfiler().profile(np.ones, 1000, name="ones")
    assert found["name"] == "ones" and found["wall_time"] > 0
    assert found["result_size_mb"] == pytest.approx(8000 / 2**20)
    assert {"cpu_time", "cpu_efficiency", "memory_delta_mb", "peak_memory_mb"} <= set(found)
    assert set(SimpleProfiler(False, False).profile(int)) == {"name", "result", "result_size_mb", "wall_time"}
    profile_function(np.ones, 3, show_details=True)
    assert "wall_time" in capsys.readouterr().out


MISUSE = {
    "called already": (lambda: Timer().measure(3), TypeError, "pass it without calling it"),
    "no runs": (lambda: Timer().measure(int, runs=0), ValueError, "runs must be at least 1"),
    "a report of nothing": (lambda: Timer().print_report(), ValueError, "call measure"),
    "a kernel too large": (lambda: FLOPCounter().count_conv2d(4, 4, 1, 1, 5), ValueError, "does not fit"),
    "no operations": (lambda: ProfilerContext().add_flop_count(0), ValueError, "must be positive"),
}


@pytest.mark.parametrize("name", MISUSE)
def test_misuse_is_explained(name):
    call, kind, message = MISUSE[name]
    with pytest.raises(kind, match=message):
        call()


def test_timing_without_warm_up_is_pointed_out():
    with pytest.warns(UserWarning, match=r"first run counts.*use warmup=3"):
        Timer().measure(lambda: None, warmup=0, runs=1)
