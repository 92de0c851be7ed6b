"""Timing, tested on a clock that the test winds itself, so that the machine's speed decides nothing."""

import gc
import math
import warnings

import numpy as np
import pytest

from tinytorch import intervals, timing
from tinytorch.intervals import interval
from tinytorch.quantities import Measured, Modelled, Quoted
from tinytorch.timing import breakeven, noise_floor, race, race_many


class FakeMachine:
    """A clock in nanoseconds and functions that cost a chosen time on it, with noise and drift."""

    def __init__(self, noise=0.0, drift=0.0, seed=0):
        self.now = 0.0
        self.noise = noise
        self.drift = drift
        self.rng = np.random.default_rng(seed)
        self.calls = []

    def clock(self):
        return int(self.now)

    def function(self, nanoseconds, name=""):
        def call():
            slowdown = 1.0 + self.drift * self.now / 1e9
            self.now += nanoseconds * slowdown * math.exp(self.noise * self.rng.standard_normal())
            self.calls.append(name)

        return call


def test_race_finds_the_true_ratio():
    fake = FakeMachine(noise=0.05)
    result = race(fake.function(6e6), fake.function(2e6), seconds=1.0, clock=fake.clock)
    assert result.ratio.low < 3.0 < result.ratio.high
    assert result.ratio.value == pytest.approx(3.0, rel=0.05)
    assert result.verdict == "faster"
    assert result.ratio.n == len(result.seconds[0]) == len(result.seconds[1])


def test_race_is_not_biased_by_a_machine_that_slows_down():
    fake = FakeMachine(drift=2.0)  # three times slower after a second
    result = race(fake.function(4e6), fake.function(4e6), rounds=40, clock=fake.clock)
    assert result.ratio.value == pytest.approx(1.0, abs=0.01)


def test_rounds_alternate_their_order():
    fake = FakeMachine()
    contenders = {name: fake.function(1e7, name) for name in "abc"}
    race_many(contenders, rounds=2, repeats=dict.fromkeys("abc", 1), clock=fake.clock)
    assert "".join(fake.calls) == "abccba"


def test_short_functions_are_repeated_until_a_sample_is_long_enough():
    fake = FakeMachine()
    races = race_many(
        {"short": fake.function(100), "long": fake.function(5e7)},
        rounds=3,
        sample_seconds=0.001,
        clock=fake.clock,
    )
    assert races.repeats["short"] >= 10_000 and races.repeats["long"] == 1
    assert races.time("short").value == pytest.approx(100e-9)


def test_confidence_decides_the_least_number_of_rounds():
    fake = FakeMachine()
    a, b = fake.function(1e9), fake.function(1e9)
    assert race(a, b, seconds=0.0, clock=fake.clock).ratio.n == intervals.rounds_needed(0.95) == 6
    assert (
        race(a, b, seconds=0.0, claims=20, clock=fake.clock).ratio.n
        == intervals.rounds_needed(1 - 0.05 / 20)
        == 10
    )


def test_racing_identical_code_is_undecided():
    decided = 0
    for seed in range(60):
        fake = FakeMachine(noise=0.1, seed=seed)
        noise, _ = noise_floor(fake.function(1e6), rounds=15, clock=fake.clock)
        result = race(fake.function(1e6), fake.function(1e6), rounds=15, noise=noise, clock=fake.clock)
        decided += result.verdict != "undecided"
    assert decided <= 2


def test_a_gain_within_the_noise_floor_is_not_claimed():
    fake = FakeMachine()
    a, b = fake.function(1.02e6), fake.function(1e6)
    assert race(a, b, rounds=10, clock=fake.clock).verdict == "faster"
    assert race(a, b, rounds=10, noise=1.05, clock=fake.clock).verdict == "undecided"
    assert race(a, fake.function(2e6), rounds=10, noise=1.05, clock=fake.clock).verdict == "slower"


@pytest.mark.parametrize("n", [3, 6, 8, 12, 25])
def test_interval_covers_the_true_median(n):
    """95 % intervals of noisy logs hold the truth in about 95 % of trials, also with few samples."""
    rng = np.random.default_rng(n)
    trials = 400
    held = sum(
        low <= 0.5 <= high
        for low, high in (interval(0.5 + 0.2 * rng.standard_normal(n)) for _ in range(trials))
    )
    assert held / trials > 0.92


def test_interval_widens_with_confidence_and_claims():
    samples = np.random.default_rng(0).standard_normal(40)
    narrow, wide = interval(samples, 0.95), interval(samples, intervals.corrected(0.95, 50))
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def test_interval_is_deterministic():
    samples = np.random.default_rng(1).standard_normal(30)
    assert interval(samples) == interval(samples)


@pytest.mark.parametrize(
    "degrees, quantile", [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (7, 2.365), (10, 2.228)]
)
def test_student_quantile_agrees_with_the_tables(degrees, quantile):
    assert intervals.student_quantile(0.95, degrees) == pytest.approx(quantile, abs=1e-3)


def test_one_round_claims_nothing():
    fake = FakeMachine()
    result = race(fake.function(1e9), fake.function(1e6), rounds=1, clock=fake.clock)
    assert result.verdict == "undecided"
    assert result.ratio.low is None and result.ratio.n == 1


def test_rates_and_shares_follow_from_the_same_samples():
    fake = FakeMachine()
    races = race_many({"ours": fake.function(2e6), "ceiling": fake.function(1e6)}, rounds=8, clock=fake.clock)
    assert races.rate("ours", 0.002, "GFLOP/s").value == pytest.approx(1.0)
    assert races.between("ceiling", "ours").ratio.value == pytest.approx(0.5)


def test_breakeven_finds_a_known_crossing():
    """a costs n², b costs 90 n: they cross at n = 90."""
    fake = FakeMachine(noise=0.03)
    found = breakeven(
        lambda n: fake.function(1e3 * n * n),
        lambda n: fake.function(90e3 * n),
        [16, 32, 64, 128, 256],
        unit="rows",
        rounds=15,
        clock=fake.clock,
    )
    assert found.status == "crosses"
    assert found.pays_from.low <= 90 <= found.pays_from.high
    assert found.pays_from.value == pytest.approx(90, rel=0.1)
    assert len(found.sizes) == 7 and found.sizes == tuple(sorted(found.sizes))


def test_breakeven_on_a_linear_scale():
    """Sparse time falls with sparsity s as 2 (1 − s), dense stays at 1: they cross at 0.5."""
    fake = FakeMachine(noise=0.01)
    found = breakeven(
        lambda s: fake.function(1e7),
        lambda s: fake.function(2e7 * (1 - s)),
        [0.1, 0.3, 0.7, 0.9],
        scale="linear",
        step=0.05,
        rounds=10,
        clock=fake.clock,
    )
    assert found.pays_from.value == pytest.approx(0.5, abs=0.02)


def test_breakeven_takes_the_last_crossing():
    """Faster at 10, slower at 20, faster from 40 on: it pays for good from between 20 and 40."""
    fake = FakeMachine()
    cost = {10: 1e6, 20: 4e6, 40: 1e6, 80: 1e6}
    found = breakeven(
        lambda n: fake.function(2e6),
        lambda n: fake.function(cost[n]),
        list(cost),
        refine=0,
        rounds=8,
        clock=fake.clock,
    )
    assert 20 < found.pays_from.value < 40


@pytest.mark.parametrize("factor, status", [(0.5, "always"), (2.0, "never")])
def test_breakeven_outside_the_sizes(factor, status):
    fake = FakeMachine(noise=0.02)
    found = breakeven(
        lambda n: fake.function(1e5 * n),
        lambda n: fake.function(1e5 * n * factor),
        [10, 20],
        rounds=8,
        clock=fake.clock,
    )
    assert found.status == status
    assert (
        (found.pays_from is None)
        if status == "never"
        else (found.pays_from.bound == "≤" and found.pays_from.value == 10)
    )


def test_breakeven_of_equals_is_undecided():
    fake = FakeMachine(noise=0.05)
    found = breakeven(
        lambda n: fake.function(1e6),
        lambda n: fake.function(1e6),
        [10, 20, 40],
        rounds=10,
        refine=0,
        clock=fake.clock,
    )
    assert found.status == "undecided"


def test_garbage_collection_is_off_inside_and_restored_after():
    seen = []
    race(lambda: seen.append(gc.isenabled()), lambda: None, rounds=2, repeats={"a": 1, "b": 1})
    assert seen and not any(seen)
    assert gc.isenabled()
    with pytest.raises(ZeroDivisionError):
        race(lambda: 1 / 0, lambda: None)
    assert gc.isenabled()


def test_records_name_no_host_and_no_user():
    import getpass
    import platform

    record = repr(timing.machine())
    assert platform.node() not in record
    assert getpass.getuser() not in record.split()
    assert {"cpu", "level", "threads", "python", "numpy"} <= timing.machine().keys()


def test_peak_is_the_best_of_its_runs(monkeypatch):
    fake = FakeMachine(noise=0.1)

    def run_fma(iterations):
        fake.function(iterations / 50)()  # 50 operations in each nanosecond
        return float(iterations)

    monkeypatch.setattr(timing.ceilings.kernels, "run_fma", run_fma, raising=False)
    peak = timing.measure_peak(seconds=0.1, clock=fake.clock)
    assert peak.unit == "GFLOP/s" and peak.value == peak.high
    assert peak.value == pytest.approx(50, rel=0.5) and peak.n >= 5


def test_bandwidth_counts_the_bytes_read(monkeypatch):
    fake = FakeMachine()
    monkeypatch.setattr(
        timing.ceilings.kernels,
        "run_read",
        lambda array, passes: fake.function(passes * array.nbytes / 20)(),
        raising=False,
    )
    assert timing.measure_bandwidth(2**20, seconds=0.01, clock=fake.clock).value == pytest.approx(
        20, rel=1e-3
    )


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: race_many({"a": int}), "two contenders"),
        (lambda: race(int, int, names=("x", "x")), "different names"),
        (lambda: race(int, int, rounds=0), "rounds"),
        (lambda: race(int, int, claims=0), "claims"),
        (lambda: breakeven(None, None, [4, 2]), "ascending"),
        (lambda: breakeven(None, None, [2, 4], scale="cubic"), "scale"),
        (lambda: interval([]), "no samples"),
        (lambda: Measured(1.0, "s", n=0), "n is the number of samples"),
        (lambda: Measured(1.0, "s", bound="~"), "bound"),
        (lambda: Modelled(1.0, "s", ""), "formula"),
        (lambda: Quoted(1.0, "s", ""), "source"),
    ],
)
def test_bad_arguments_are_explained(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    "quantity, text",
    [
        (Measured(0.00123, "s", 0.0012, 0.0013, 9), "1.23 ms [1.20 to 1.30]"),
        (Measured(3.14159, "×"), "3.14×"),
        (Measured(64, "rows", bound="≤"), "≤ 64 rows"),
        (Measured.count(2 * 2**20, "B"), "2 MiB"),
        (Measured(12345.6, "×"), "12,346×"),
        (Modelled(0.0, "s", "0 s"), "0 ns"),
    ],
)
def test_quantities_read_well(quantity, text):
    assert str(quantity) == text


def test_waits_as_long_as_a_thread_of_this_process_works(monkeypatch):
    now = {"wall": 0.0, "cpu": 0.0}

    def sleep(seconds):
        now["wall"] += seconds
        now["cpu"] += seconds * (now["wall"] < 0.035)  # another thread spins until then

    monkeypatch.setattr(timing.races.time, "perf_counter", lambda: now["wall"])
    monkeypatch.setattr(timing.races.time, "process_time", lambda: now["cpu"])
    monkeypatch.setattr(timing.races.time, "sleep", sleep)
    assert timing.wait_until_idle() == pytest.approx(0.04)
    now["wall"] = -10.0
    assert timing.wait_until_idle(at_most=0.1) == pytest.approx(0.1, abs=0.011)


def test_settling_waits_and_calls_once_before_each_sample(monkeypatch):
    events = []
    monkeypatch.setattr(timing.races, "wait_until_idle", lambda: events.append("wait") or 0.0)
    calls = {name: lambda name=name: events.append(name) for name in "ab"}
    race_many(calls, rounds=2, repeats={"a": 1, "b": 2}, settle=True)
    sample_a, sample_b = ["wait", "a", "a"], ["wait", "b", "b", "b"]
    # Once each before the rounds, to know how long settling takes.
    assert events == ["wait", "wait", *sample_a, *sample_b, *sample_b, *sample_a]


def test_a_race_of_different_computations_is_pointed_out():
    ones, other, short = np.ones(4, np.float32), np.full(4, 1.1, np.float32), np.ones(3, np.float32)
    fake = FakeMachine()

    def returning(result):
        wait = fake.function(1e6)
        return lambda: wait() or result

    def run(b, **options):
        race(returning(ones), returning(b), names=("sum", "mean"), rounds=6, clock=fake.clock, **options)

    with pytest.warns(UserWarning, match=r"'sum' and 'mean' return different results.*10 %.*compare=False"):
        run(other)
    with pytest.warns(UserWarning, match=r"of shapes \(4,\) and \(3,\)"):
        run(short)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(ones + 1e-6)
        run(other, compare=False)
        run(None)  # nothing to compare


def test_a_call_instead_of_a_function_is_refused():
    with pytest.raises(TypeError, match=r"'b' must be a function of no arguments, got int.*lambda: f\(x\)"):
        race(lambda: 1, 3)
