"""TinyMLPerf measures what it can and says what it cannot; competitions keep like with like."""

import json

import numpy as np
import pytest

from tinytorch import Tensor, timing
from tinytorch.acceleration import optimize
from tinytorch.benchmarking import (
    CompetitionProfiler,
    InnovationDetector,
    TinyMLPerf,
    TinyMLPerfCompetition,
    TinyMLPerfCompetitionPlus,
    competition,
    events,
)
from tinytorch.layers import Linear, Sequential
from tinytorch.models import MLPClassifier
from tinytorch.pruning import magnitude_prune, sparsify
from tinytorch.quantization import quantize


@pytest.fixture(scope="module")
def perf():
    return TinyMLPerf()


def test_events_name_their_data_and_baselines_learn(perf):
    assert list(perf.get_available_events()) == ["mlp_sprint", "cnn_marathon", "transformer_decathlon"]
    model, dataset = perf.load_benchmark("mlp_sprint")
    assert "digits" in dataset["description"] and dataset["event"] == "mlp_sprint"
    found = events.accuracy(model, dataset["inputs"], dataset["targets"])
    assert found >= events.EVENTS["mlp_sprint"].target_accuracy


def test_what_is_done_to_a_baseline_changes_no_later_one(perf):
    model, dataset = perf.load_benchmark("mlp_sprint")
    for parameter in model.parameters():
        parameter.data[...] = 0
    dataset["inputs"][...] = 0
    model, dataset = perf.load_benchmark("mlp_sprint")
    assert dataset["inputs"].any() and all(p.data.any() for p in model.parameters())


@pytest.mark.parametrize("name", ["cnn_marathon", "transformer_decathlon"])
def test_data_of_the_larger_events(name):
    (inputs, targets), (held_out, answers) = events.EVENTS[name].data()
    assert len(inputs) == len(targets) > len(held_out) == len(answers) > 0
    assert not np.shares_memory(inputs, held_out)


def test_training_lowers_the_loss_of_every_kind():
    (inputs, targets), (held_out, answers) = events.EVENTS["transformer_decathlon"].data()
    vocabulary = int(inputs.max()) + 1
    model = events.char_gpt(vocabulary, embed_dim=16, num_layers=1, num_heads=2, max_seq_len=events.CONTEXT)
    before = events.accuracy(model, held_out[:20], answers[:20])
    events._train(model, (inputs, targets), events.next_token_loss, steps=15, lr=1e-2)
    assert events.accuracy(model, held_out[:20], answers[:20]) > before


def test_without_data_accuracy_is_not_made_up(perf):
    model = MLPClassifier((640, 8, 2))
    result = perf.run_standard_benchmark(model, "anomaly_detection", num_runs=5)
    assert result["accuracy"] is None and result["accuracy_met"] is None and not result["compliant"]
    assert "not shipped" in result["accuracy_note"]
    assert 0 < result["p50_latency_ms"] <= result["p90_latency_ms"] <= result["max_latency_ms"]
    assert result["num_runs"] == 5 and "threads" in result["machine"]


def test_with_data_accuracy_is_measured(perf):
    model = MLPClassifier((640, 2))
    x = np.random.default_rng(0).standard_normal((8, 640), dtype=np.float32)
    answers = model(Tensor(x)).data.argmax(axis=-1)
    result = perf.run_standard_benchmark(model, "anomaly_detection", 3, (x, answers))
    assert result["accuracy"] == 1.0 and result["accuracy_met"]


def test_the_report_says_why_a_model_did_not_run(perf, tmp_path):
    results = perf.run_all_benchmarks(MLPClassifier((640, 8, 2)))
    assert set(results) == set(perf.benchmarks)
    text = perf.generate_compliance_report(results, tmp_path / "report.json")
    assert "keyword_spotting: not run: Linear" in text and "accuracy not measured" in text
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["summary"]["compliance_rate"] == 0 and report["benchmarks"].keys() == results.keys()


# ---- competitions ----


@pytest.fixture
def contest(tmp_path, monkeypatch):
    """A competition whose races are won by as much as the model's ``gain`` says."""

    def race(baseline, entry, names, **_):
        entry()
        seconds = ((1.0,) * 8, (1.0 / race.gain,) * 8)
        races = timing.Races(dict(zip(names, seconds, strict=True)), dict.fromkeys(names, 1), 1.0, 0.95, {})
        return races.between(*names)

    monkeypatch.setattr(competition.timing, "race", race)

    def submit(made, team, gain, model=None, **options):
        race.gain = gain
        baseline, _ = made.tinymlperf.load_benchmark("mlp_sprint")
        return made.submit_entry(team, "mlp_sprint", model or baseline, **options)

    return tmp_path, submit


def test_entries_are_kept_and_ranked(contest, capsys):
    folder, submit = contest
    made = TinyMLPerfCompetition(folder)
    submit(made, "slow", 1.5)
    submit(made, "fast", 4.0)
    entry = submit(made, "slow", 2.0)
    assert entry["speedup_score"] == pytest.approx(2.0) and entry["accuracy_kept"]
    again = TinyMLPerfCompetition(folder)
    assert [entry["team_name"] for entry in again.entries("mlp_sprint")] == ["fast", "slow", "slow"]
    progress = again.get_team_progress("slow")["mlp_sprint"]
    assert [entry["speedup_score"] for entry in progress] == pytest.approx([1.5, 2.0])
    again.display_leaderboard("mlp_sprint", top_n=1)
    text = capsys.readouterr().out
    assert "fast" in text and "slow" not in text and "digits" in text
    again.display_all_leaderboards()
    assert "transformer_decathlon" in capsys.readouterr().out


def test_a_fast_model_that_is_wrong_is_not_ranked(contest, capsys):
    folder, submit = contest
    made = TinyMLPerfCompetition(folder)
    submit(made, "right", 1.1)
    assert not submit(made, "wrong", 100.0, MLPClassifier((64, 10)))["accuracy_kept"]
    assert [entry["team_name"] for entry in made.entries("mlp_sprint")] == ["right", "wrong"]
    made.display_leaderboard("mlp_sprint")
    assert "accuracy lost" in capsys.readouterr().out


def test_unlike_machines_are_not_ranked_together(contest):
    folder, submit = contest
    made = TinyMLPerfCompetition(folder)
    path = folder / f"{submit(made, 'a', 2.0)['submission_id']}.json"
    entry = json.loads(path.read_text())
    entry["performance_metrics"]["machine"]["threads"] = 99
    path.write_text(json.dumps(entry))
    submit(made, "b", 2.0)
    with pytest.raises(ValueError, match="2 unlike machines"):
        made.entries("mlp_sprint")


def test_the_plus_edition_scores_what_is_in_the_model(contest, capsys):
    folder, submit = contest
    made = TinyMLPerfCompetitionPlus(folder)
    baseline, dataset = made.tinymlperf.load_benchmark("mlp_sprint")
    fast = quantize(baseline, dataset["inputs"])
    entry = submit(made, "team", 2.0, fast, optimization_description="quantization and pruning")
    assert entry["innovation_analysis"]["detected_techniques"] == ["quantization"]
    assert entry["innovation_analysis"]["unsupported_claims"] == ["pruning"]
    assert entry["composite_score"] == pytest.approx(0.7 * 1.0 + 0.3 / 3)
    made.display_innovation_leaderboard("mlp_sprint")
    made.display_all_enhanced_leaderboards()
    assert "composite score" in capsys.readouterr().out


def test_words_alone_score_nothing():
    detector = InnovationDetector()
    plain = Sequential(Linear(16, 16))
    found = detector.analyze_innovation(plain, "novel quantization with custom pruning")
    assert found["num_techniques"] == 0 and found["unsupported_claims"] == ["quantization", "pruning"]
    assert "Named, not found: quantization" in detector.generate_innovation_report(found)
    pruned = magnitude_prune(Sequential(Linear(64, 64)), 0.9)
    assert detector.analyze_innovation(pruned)["detected_techniques"] == ["pruning"]
    assert (
        "compression" in detector.analyze_innovation(sparsify(pruned, measure=False))["detected_techniques"]
    )
    assert detector.analyze_innovation(optimize(plain))["num_techniques"] == 0


def test_profiler_compares_with_a_stored_time(perf):
    model, dataset = perf.load_benchmark("mlp_sprint")
    found = CompetitionProfiler(1, 3).benchmark_model(model, dataset, baseline_time=1.0)
    assert found["speedup_vs_baseline"] > 1 and 0 < found["min_inference_time"] <= found["p95_inference_time"]


MISUSE = {
    "an unknown benchmark": (
        lambda: TinyMLPerf().run_standard_benchmark(None, "mlp_sprint"),
        "no benchmark 'mlp_sprint'; there are keyword_spotting.*use load_benchmark",
    ),
    "an unknown event": (
        lambda: TinyMLPerf().load_benchmark("sprint"),
        "no event 'sprint'; there are mlp_sprint",
    ),
    "no runs": (
        lambda: TinyMLPerf().run_standard_benchmark(MLPClassifier((640, 2)), "anomaly_detection", 0),
        "num_runs must be at least 1",
    ),
    "a report of nothing": (lambda: TinyMLPerf().generate_compliance_report({}), "run a benchmark first"),
    "nobody's entry": (lambda: TinyMLPerfCompetition("x").submit_entry(" ", "mlp_sprint", None), "team_name"),
    "one run": (lambda: CompetitionProfiler(timing_runs=1), "at least 2"),
    "no classes": (
        lambda: events.accuracy(lambda x: x, np.ones((4, 3, 2), np.float32), np.zeros(4, int)),
        r"answers of shape \(4, 3\).*one score for each class",
    ),
}


@pytest.mark.parametrize("name", MISUSE)
def test_misuse_is_explained(name):
    call, message = MISUSE[name]
    with pytest.raises(ValueError, match=message):
        call()
