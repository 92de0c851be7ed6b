"""Benchmarks of models: statistics, turns, and the measuring tools under their course names."""

import numpy as np
import pytest

from tinytorch import benchmarking, timing
from tinytorch.benchmarking import Benchmark, BenchmarkResult
from tinytorch.models import MLPClassifier
from tinytorch.tensor import Tensor


def test_result_has_the_usual_statistics():
    result = BenchmarkResult("latency", [1.0, 2.0, 3.0, 4.0], {"unit": "ms"})
    assert (result.mean, result.median, result.min_val, result.max_val, result.count) == (
        2.5,
        2.5,
        1.0,
        4.0,
        4,
    )
    assert result.std == pytest.approx(np.std([1, 2, 3, 4], ddof=1))
    # Student's t for three degrees of freedom: 3.182 standard errors.
    assert result.ci_upper - result.mean == pytest.approx(3.182 * result.std / 2, rel=1e-3)
    assert result.to_dict()["metadata"] == {"unit": "ms"}


def test_single_value_and_none():
    assert BenchmarkResult("x", [3.0]).ci_lower == 3.0
    with pytest.raises(ValueError, match="no values"):
        BenchmarkResult("x", [])


class Constant:
    """A model that always answers the same class, and keeps count of its calls."""

    def __init__(self, name, answer, calls):
        self.name, self.answer, self.calls = name, answer, calls

    def forward(self, x):
        self.calls.append(self.name)
        return Tensor(np.eye(3, dtype=np.float32)[np.full(x.shape[0], self.answer)])


def test_models_take_turns():
    calls = []
    benchmark = Benchmark(
        [Constant("a", 0, calls), Constant("b", 1, calls)], [], warmup_runs=1, measurement_runs=3
    )
    results = benchmark.run_latency_benchmark((2, 4))
    assert "".join(calls) == "abbaabba"
    assert results["a"].count == results["b"].count == 3


def test_accuracy_ranks_the_models():
    data = (np.zeros((4, 2), np.float32), np.array([1, 1, 1, 0]))
    benchmark = Benchmark([Constant("a", 0, []), Constant("b", 1, [])], [data])
    assert benchmark.run_accuracy_benchmark()["b"].mean == 0.75
    assert [row["model"] for row in benchmark.compare_models("accuracy")] == ["b", "a"]


def test_memory_of_a_larger_model_is_larger():
    small, large = MLPClassifier((16, 8, 4)), MLPClassifier((16, 800, 4))
    results = Benchmark([small, large], []).run_memory_benchmark((2, 16))
    assert results["model_1"].mean > 5 * results["model_0"].mean


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: Benchmark([], []), "no models"),
        (lambda: Benchmark([Constant("a", 0, []), Constant("a", 0, [])], []), "different names"),
        (lambda: Benchmark([Constant("a", 0, [])], []).run_accuracy_benchmark(), "needs datasets"),
        (lambda: Benchmark([Constant("a", 0, [])], []).compare_models(), "run_latency_benchmark"),
        (lambda: Benchmark([Constant("a", 0, [])], []).compare_models("beauty"), "beauty"),
        (lambda: Benchmark([Constant("a", 0, [])], [], measurement_runs=0), "measurement_runs"),
        (
            lambda: Benchmark(
                [Constant("a", 0, [])], [(np.zeros((2, 2)), np.zeros(3))]
            ).run_accuracy_benchmark(),
            r"\(2,\).*\(3,\)",
        ),
    ],
)
def test_bad_arguments_are_explained(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_the_tools_are_those_of_timing():
    assert benchmarking.race is timing.race
    assert benchmarking.breakeven is timing.breakeven
