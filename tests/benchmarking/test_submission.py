"""The capstone's submission, the course's performance tests, and the suite of models."""

import json

import numpy as np
import pytest

from tinytorch import Tensor, timing
from tinytorch.acceleration import optimize
from tinytorch.benchmarking import (
    AccuracyTester,
    Benchmark,
    BenchmarkReport,
    BenchmarkResult,
    BenchmarkSuite,
    PerformanceTester,
    PerformanceTimer,
    SimpleMLP,
    create_test_data,
    generate_submission,
    save_submission,
    testers,
    validate_submission_schema,
)
from tinytorch.layers import Linear, Sequential
from tinytorch.quantization import QuantizedLinear
from tinytorch.replacing import stored_bytes


def report(name="model", model=None):
    made = BenchmarkReport(name)
    x = np.random.default_rng(0).standard_normal((12, 10), dtype=np.float32)
    made.benchmark_model(model or SimpleMLP(), x, np.zeros(12, int), num_runs=3)
    return made


def test_simple_mlp():
    model = SimpleMLP()
    assert model.count_parameters() == 10 * 20 + 20 + 20 * 3 + 3
    assert model(Tensor(np.ones((2, 10)))).shape == (2, 3)


def test_a_report_holds_what_was_measured():
    metrics = report().metrics
    assert metrics["parameter_count"] == 283 and metrics["model_size_mb"] == pytest.approx(283 * 4 / 2**20)
    assert 0 <= metrics["accuracy"] <= 1 and len(metrics["latency_ms"]) == 3
    assert metrics["throughput_samples_per_sec"] == pytest.approx(1e3 / metrics["latency_ms_mean"])


def test_a_lowered_model_is_as_large_as_its_arrays():
    model = Sequential(Linear(10, 3))
    assert report(model=optimize(model)).metrics["model_size_mb"] == optimize(model).nbytes / 2**20


def test_quantized_layers_inside_a_model_are_counted_once():
    model = SimpleMLP()
    model.fc1 = QuantizedLinear(model.fc1)
    metrics = report(model=model).metrics
    held = model.fc1.nbytes + model.fc2.weight.data.nbytes + model.fc2.bias.data.nbytes
    assert metrics["model_size_mb"] == held / 2**20
    assert stored_bytes(model.fc1) == model.fc1.nbytes


def test_a_submission_with_improvements(tmp_path):
    before, after = report("before"), report("after")
    before.metrics["latency_ms_mean"], after.metrics["latency_ms_mean"] = 4.0, 2.0
    submission = generate_submission(before, after, "Ada", ["packing"])
    assert submission["improvements"]["speedup"] == 2.0
    assert submission["improvements"]["compression_ratio"] == 1.0
    assert submission["optimized"]["techniques_applied"] == ["packing"]
    path = save_submission(submission, tmp_path / "submission.json")
    stored = json.loads((tmp_path / "submission.json").read_text())
    assert path.endswith("submission.json") and stored["student_name"] == "Ada"
    assert {"tinytorch_version", "timestamp", "system_info", "baseline"} <= stored.keys()
    assert "optimized" not in generate_submission(before)


def from_another_machine():
    made = report()
    made.system_info = {**made.system_info, "threads": 99}
    return made


def with_accuracy(value):
    made = report()
    made.metrics["accuracy"] = value
    return generate_submission(made)


MISUSE = {
    "not measured": (lambda: generate_submission(BenchmarkReport("mine")), "'mine' was not measured; call"),
    "unlike machines": (lambda: generate_submission(report(), from_another_machine()), "unlike machines"),
    "accuracy in percent": (
        lambda: validate_submission_schema(with_accuracy(93.0)),
        "a share, from 0 to 1, got 93.0; divide percent by 100",
    ),
    "a part is missing": (lambda: validate_submission_schema({}), "'tinytorch_version' is missing"),
    "labels for other samples": (
        lambda: BenchmarkReport().benchmark_model(SimpleMLP(), np.ones((3, 10)), np.zeros(2)),
        "3 samples in X_test, and 2 in y_test",
    ),
    "no runs": (
        lambda: BenchmarkReport().benchmark_model(SimpleMLP(), np.ones((3, 10)), np.zeros(3), 0),
        "num_runs must be at least 1",
    ),
    "NaN among the values": (lambda: BenchmarkResult("latency", [1.0, np.nan]), "1 of 2 values are NaN"),
    "a plot before the run": (lambda: BenchmarkSuite([SimpleMLP()], []).plot_results(), "run_full_benchmark"),
}


@pytest.mark.parametrize("name", MISUSE)
def test_misuse_is_explained(name):
    call, message = MISUSE[name]
    with pytest.raises(ValueError, match=message):
        call()


def test_benchmark_without_warm_up_is_pointed_out():
    with pytest.warns(UserWarning, match="first run counts"):
        Benchmark([SimpleMLP()], [], warmup_runs=0)


def test_suite_of_models_writes_its_files(tmp_path):
    small, large = SimpleMLP(), SimpleMLP(hidden_size=400)
    data = (np.ones((4, 10), np.float32), np.zeros(4, int))
    made = BenchmarkSuite([small, large], [data], tmp_path / "out")
    results = made.run_full_benchmark()
    assert set(results) == {"latency", "memory", "accuracy"}
    assert len(made.plot_pareto_frontier().axes[0].texts) == 2
    assert set(made.plot_results()) == set(results)
    assert "model_1" in made.generate_report()
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {"results.json", "report.txt", "latency.png", "memory.png", "accuracy.png"}
    stored = json.loads((tmp_path / "out" / "results.json").read_text())
    assert stored["results"]["latency"]["model_0"]["count"] == 10 and "threads" in stored["machine"]
    with pytest.raises(ValueError, match="'energy' was not measured, only latency, memory, accuracy"):
        made.plot_pareto_frontier("energy")


# ---- the course's performance tests ----


def test_timer_has_the_course_keys():
    found = PerformanceTimer(1, 4).measure(lambda n: n + 1, 2)
    assert found["result"] == 3 and found["runs"] == 4
    assert found["min"] <= found["median"] <= found["max"] and found["confidence_95"] >= 0


def test_outputs_are_compared():
    same = AccuracyTester.compare_outputs(np.ones(3), Tensor(np.ones(3)))
    assert same["accuracy_preserved"] and same["max_diff"] == 0
    other = AccuracyTester.compare_outputs(np.array([2.0, 4.0]), np.array([2.0, 5.0]))
    assert not other["accuracy_preserved"] and other["relative_error"] == 0.25
    assert not AccuracyTester.compare_outputs(np.ones(3), np.ones(2))["shapes_match"]
    nan = np.array([np.nan, 1.0])
    assert AccuracyTester.compare_outputs(nan, nan)["accuracy_preserved"]
    assert not AccuracyTester.compare_outputs(np.ones(2), nan)["accuracy_preserved"]


def test_two_functions_are_raced(monkeypatch):
    def race(a, b, names, **_):
        seconds = dict(zip(names, ((2.0,) * 8, (1.0,) * 8), strict=True))
        return timing.Races(seconds, dict.fromkeys(names, 1), 1.0, 0.95, {}).between(*names)

    monkeypatch.setattr(testers.timing, "race", race)
    data = create_test_data(20)
    assert data["large"].shape == (20, 20) and data["batch"].shape == (32, 20)
    found = PerformanceTester().compare_performance(np.sum, lambda x: x.sum(), (data["large"],))
    assert found["speedup"] == pytest.approx(2.0) and found["speedup_significant"]
    assert found["accuracy"]["accuracy_preserved"] and found["test_name"] == "Performance Test"
