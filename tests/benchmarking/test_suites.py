"""Suites, their files, what changed between two of them, and who leads."""

import json

import numpy as np
import pytest

from benchmarking.common import record_of
from tinytorch import timing
from tinytorch.benchmarking import SUITES, Suite, compare_records, leaderboard, load_record, suite


def noop():
    return (lambda: None), (lambda: None)


@pytest.fixture
def small():
    made = Suite("small")
    made.add("sums", lambda: (lambda: sum(range(100)), lambda: sum(range(10))), names=("long", "short"))
    made.add("nothing", noop)
    return made


def test_a_run_keeps_every_race_with_the_machine(small, tmp_path):
    seen = []
    record = small.run(
        seconds=0.01, passes=2, label="me", progress=lambda fraction, name: seen.append((fraction, name))
    )
    assert list(record.races) == ["sums", "nothing"]
    assert record.races["sums"][0].names == ("long", "short") and len(record.races["sums"]) == 2
    assert record.gain("sums").n == 2 and record.verdict("sums") in ("faster", "slower", "undecided")
    assert record.machine["threads"] >= 1 and record.noise >= 1 and record.label == "me"
    assert seen == [(0.0, "sums"), (0.25, "nothing"), (0.5, "sums"), (0.75, "nothing")]
    assert load_record(record.save(tmp_path / "record.json")) == record


def test_score_is_the_geometric_mean_of_the_gains():
    record = record_of({"a": 2.0, "b": 8.0})
    assert record.score.value == pytest.approx(4.0, rel=0.02)
    assert record.score.low < 4.0 < record.score.high


@pytest.mark.parametrize("name", SUITES)
def test_shipped_suites_race_equal_computations(name):
    for entry in suite(name).entries.values():
        baseline, contender = entry.make()
        a, b = (np.asarray(getattr(result, "data", result)) for result in (baseline(), contender()))
        np.testing.assert_allclose(a, b, atol=1e-4 * max(np.abs(a).max(), 1))


# ---- two records ----


def test_changes_are_found_where_they_are():
    before = record_of({"same": 2.0, "better": 2.0, "worse": 2.0}, label="old")
    after = record_of({"same": 2.0, "better": 3.0, "worse": 1.5}, label="new", seed=50)
    found = compare_records(before, after)
    assert {name: change.verdict for name, change in found.changes.items()} == {
        "same": "undecided",
        "better": "faster",
        "worse": "slower",
    }
    assert found.changes["better"].ratio.low < 1.5 < found.changes["better"].ratio.high
    assert "new over old" in str(found) and "3 claims" in str(found)


@pytest.mark.parametrize("between", [0.0, 0.3])
def test_equal_code_is_hardly_ever_told_apart(between):
    """Also where each pass is as steady as can be, and passes differ by 30 %."""
    decided = 0
    for seed in range(60):
        a, b = (
            record_of({"x": 1.0, "y": 1.0}, noise=1.0, seed=200 * k + seed, between=between) for k in (1, 2)
        )
        decided += any(change.verdict != "undecided" for change in compare_records(a, b).changes.values())
    assert decided <= 7


def test_more_claims_widen_each_interval():
    def width(others):
        gains = {"x": 1.0, **{f"other {i}": 1.0 for i in range(others)}}
        ratio = compare_records(record_of(gains), record_of(gains, seed=99)).changes["x"].ratio
        return ratio.high / ratio.low

    assert width(10) > width(0)


def with_race(record, **changed):
    record.races["x"] = tuple(timing.Race(**{**vars(race), **changed}) for race in record.races["x"])
    return record


def test_a_machine_that_got_slower_is_no_change():
    before, after = record_of({"x": 2.0}), record_of({"x": 2.0}, seed=9)
    after.races["x"] = tuple(
        timing.Race(**{**vars(race), "seconds": tuple(tuple(3 * t for t in side) for side in race.seconds)})
        for race in after.races["x"]
    )
    assert compare_records(before, after).changes["x"].verdict == "undecided"


def test_a_gain_within_the_noise_is_not_claimed():
    before, after = record_of({"x": 1.0}, noise=1.2), record_of({"x": 1.1}, noise=1.0, seed=3)
    assert compare_records(before, after).changes["x"].verdict == "undecided"


def test_one_pass_claims_nothing():
    change = compare_records(record_of({"x": 1.0}), record_of({"x": 5.0}, passes=1)).changes["x"]
    assert change.verdict == "undecided" and change.ratio.low is None


def test_races_of_one_record_alone_are_named():
    found = compare_records(record_of({"x": 1.0, "gone": 1.0}), record_of({"x": 1.0, "new": 1.0}))
    assert found.missing == ("gone", "new") and "gone, new" in str(found)


# ---- many records ----


def test_the_best_comes_first_and_equals_share_a_place(tmp_path):
    for label, gain, seed in (("slow", 1.5, 1), ("fast", 4.0, 2), ("fast, too", 4.0, 30)):
        record_of({"x": gain}, label=label, seed=seed).save(tmp_path / f"{label}.json")
    board = leaderboard(tmp_path)
    assert {standing.record.label: standing.place for standing in board.standings} == {
        "fast": 1,
        "fast, too": 1,
        "slow": 3,
    }
    assert "a CPU, level scalar, 1 of 2 cores" in str(board)


def test_unlike_machines_are_ranked_on_request_and_named(tmp_path):
    record_of({"x": 2.0}, label="one").save(tmp_path / "a.json")
    record_of({"x": 3.0}, label="two", machine={"threads": 2}).save(tmp_path / "b.json")
    with pytest.raises(ValueError, match=r"unlike machines \(threads: 1, 2\).*mixed=True"):
        leaderboard(tmp_path)
    text = str(leaderboard(tmp_path, mixed=True))
    assert "1 of 2 cores" in text and "2 of 2 cores" in text and "nothing about the code" in text


def test_a_folder_of_several_suites_needs_a_choice(tmp_path):
    record_of({"x": 2.0}).save(tmp_path / "a.json")
    record_of({"x": 2.0}, suite="other").save(tmp_path / "b.json")
    assert leaderboard(tmp_path, suite="other").suite == "other"
    with pytest.raises(ValueError, match="different suites"):
        leaderboard(tmp_path)


# ---- misuse ----


def written(tmp_path, text):
    path = tmp_path / "broken.json"
    path.write_text(text)
    return load_record(path)


def with_times(tmp_path, value):
    path = record_of({"x": 1.0}).save(tmp_path / "broken.json")
    content = json.loads(path.read_text())
    content["races"]["x"][1]["seconds"][0][3] = value
    return written(tmp_path, json.dumps(content))


MISUSE = {
    "no name": (lambda _: Suite(""), "needs a name"),
    "no races": (lambda _: Suite("s").run(), r"no races to run; add some with suite\.add"),
    "one pass": (lambda _: suite("kernels").run(passes=1), "at least 2, got 1; one pass shows no spread"),
    "an unknown suite": (
        lambda _: suite("kernel"),
        "no suite 'kernel'; there are kernels, fusion, inference",
    ),
    "different suites": (
        lambda _: compare_records(record_of({"x": 1.0}), record_of({"x": 1.0}, suite="other")),
        r"different suites \(example, other\)",
    ),
    "different threads": (
        lambda _: compare_records(record_of({"x": 1.0}), record_of({"x": 1.0}, machine={"threads": 2})),
        r"compare_records: the records come from unlike machines \(threads: 1, 2\)",
    ),
    "nothing in common": (
        lambda _: compare_records(record_of({"x": 1.0}), record_of({"y": 1.0})),
        "no race in common",
    ),
    "other contenders": (
        lambda _: compare_records(record_of({"x": 1.0}), with_race(record_of({"x": 1.0}), names=("a", "b"))),
        "race 'x' is slow against fast in the first record and a against b",
    ),
    "NaN times": (lambda folder: with_times(folder, float("nan")), "positive numbers of seconds, got nan"),
    "negative times": (
        lambda folder: with_times(folder, -1.0),
        "race 'x': the times of 'slow' must be positive",
    ),
    "no JSON": (lambda folder: written(folder, "{"), "is not JSON, or cut short"),
    "another file": (lambda folder: written(folder, "[]"), "holds no record of a suite"),
    "another schema": (
        lambda folder: written(folder, '{"type": "SuiteRecord", "schema": 99}'),
        "schema 99, and this TinyTorch reads 1",
    ),
    "a damaged record": (
        lambda folder: written(folder, '{"type": "SuiteRecord", "schema": 1}'),
        "is damaged",
    ),
    "no folder": (lambda folder: leaderboard(folder / "none"), "is no folder"),
    "an empty folder": (lambda folder: leaderboard(folder), "no record in"),
}


@pytest.mark.parametrize("name", MISUSE)
def test_misuse_is_explained(name, tmp_path):
    call, message = MISUSE[name]
    with pytest.raises(ValueError, match=message):
        call(tmp_path)


def test_a_race_of_the_same_name_is_refused(small):
    with pytest.raises(ValueError, match="a race 'sums' already"):
        small.add("sums", noop)
    with pytest.raises(TypeError, match="must be a function that returns the two"):
        small.add("three", (1, 2))
