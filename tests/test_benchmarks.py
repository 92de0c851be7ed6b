"""The frame of the benchmarks: what is concluded from samples, what is written, what is left out."""

import importlib
import itertools
import json
import platform
import sys

import numpy as np
import pytest
from rich.console import Console

from benchmarks import __main__, ceilings, output, peers, run, training
from benchmarks.case import Case
from tinytorch import kernels, timing

ROUNDS = 20


def result(ours, rivals, *, shape="2 x 2", threads=1, noise=0.0, **rest):
    """What a race would have left behind, had every round taken exactly these seconds."""
    again = [ours * (1 + noise * (-1) ** turn) for turn in range(ROUNDS)]
    seconds = {run.OURS: (ours,) * ROUNDS, run.AGAIN: tuple(again)}
    seconds |= {name: (time,) * ROUNDS for name, time in rivals.items()}
    races = timing.Races(seconds, dict.fromkeys(seconds, 1), 1.0, 0.95, {})
    fields = {"family": "fake", "operations": None, "read_bytes": None, "peers": list(rivals), "own": []}
    return run.Result(**{**fields, **rest}, shape=shape, threads=threads, races=races)


class TestResult:
    def test_ratios_say_how_many_times_faster_ours_is(self):
        found = result(2.0, {"A": 6.0, "B": 1.0})
        assert found.ratio("A").value == pytest.approx(3.0) and found.ratio("B").value == pytest.approx(0.5)
        assert (found.verdict("A"), found.verdict("B")) == ("faster", "slower")
        assert found.best_peer == "B"

    def test_a_gain_within_the_noise_is_none(self):
        found = result(1.0, {"A": 1.1}, noise=0.3)
        assert found.noise > 1.1 and found.verdict("A") == "undecided"

    def test_share_is_of_the_limit_that_takes_longest(self):
        # One call does twice the work of a call of one ceiling, and a tenth of that of the other.
        found = result(
            8.0, {run.PEAK: 2.0, run.READING: 3.0}, peers=[], ceilings={run.PEAK: 2.0, run.READING: 0.1}
        )
        assert found.bound == run.PEAK and found.share.value == pytest.approx(50.0)
        assert found.best_peer is None

    def test_rate(self):
        assert str(result(2.0, {}, operations=8e9, read_bytes=1.0).rate) == "4 GFLOP/s"
        assert str(result(2.0, {}, read_bytes=8e9).rate) == "4 GB/s"
        assert result(2.0, {}).rate is None


class TestMeasure:
    def test_takes_every_contender_and_both_limits(self):
        x = np.arange(6.0).reshape(2, 3)
        case = Case("fake", "2 x 3", lambda: x, {"A": lambda: x.T, "B": lambda: 2 * x}, {"C": int}, 1e3, 1e4)
        found = run.measure(case, 2, 0.01)
        assert set(found.races.seconds) == {run.OURS, run.AGAIN, "A", "B", "C", run.PEAK, run.READING}
        assert found.differences == {"A": 0.0, "B": pytest.approx(1.0)}
        assert set(found.ceilings) == {run.PEAK, run.READING}

    def test_equal_names_are_refused(self):
        with pytest.raises(ValueError, match="same name"):
            run.measure(Case("fake", "1", int, {"A": int}, {"A": int}), 1, 0.01)

    def test_what_is_no_array_is_not_compared(self):
        assert run._difference(lambda: None, lambda: np.ones(3)) is None
        assert run._difference(lambda: np.ones(2), lambda: np.ones(3)) is None
        assert run._difference(lambda: (np.ones(3), "more"), lambda: [np.ones(3)]) == 0.0

    def test_quantized_tensors_are_compared_as_integers(self):
        if not peers.torch:
            pytest.skip("torch is not installed")
        ours = np.array([0, 130, 255], np.uint8)
        theirs = peers.torch._make_per_tensor_quantized_tensor(peers.torch.from_numpy(ours), 0.5, 7)
        assert run._difference(lambda: ours, lambda: theirs) == 0.0

    def test_limits_count_the_work_of_all_threads(self):
        with ceilings.ThreadPoolExecutor(3) as pool:
            assert ceilings.reading(pool, 3, 12_000).work % (3 * 4 * 1000) == 0
            iterations = ceilings.arithmetic(pool, 3).work / kernels.run_fma(1)
            assert iterations % 3 == 0

    def test_the_level_is_the_first_that_holds_the_bytes(self, monkeypatch):
        monkeypatch.setattr(kernels, "cpu_info", lambda: {"caches": {"L1d": 100, "L2": 1000}})
        assert [ceilings.memory_level(n) for n in (100, 101, 1001)] == ["L1d", "L2", "memory"]


class TestOutput:
    def test_geometric_mean(self):
        assert output.geometric_mean([2.0, 0.5]) == pytest.approx(1.0)
        assert output.geometric_mean([1.0, 8.0, 27.0]) == pytest.approx(6.0)

    def test_summary_names_the_worst_shape_and_its_best_peer(self):
        group = [
            result(1.0, {"A": 2.0, "B": 3.0}, shape="easy"),
            result(1.0, {"A": 9.0, "B": 0.5}, shape="hard"),
        ]
        text = output.summary(group)
        assert "geometric mean 1×" in text and "worst 0.500×" in text and "at hard against B" in text
        assert "no peer" in output.summary([result(1.0, {})])

    def test_the_table_has_a_row_for_each_shape_and_says_what_is_doubtful(self):
        console = Console(width=200, record=True)
        group = [
            result(1.0, {"A": 2.0}, shape="easy", differences={"A": 0.01}),
            result(1.0, {"B": 2.0}, shape="hard", differences={"B": 0.5}),
            result(1.0, {"A": 2.0}, shape="more", threads=2),
        ]
        output.show(group, console)
        text = console.export_text()
        assert "fake, 1 thread " in text and "fake, 2 threads " in text
        assert "2× ±0%" in text and "–" in text
        assert "hard: the result of B differs from ours by 50%" in text and "easy: the result" not in text

    def test_json_has_every_sample_and_no_host(self, tmp_path):
        path = tmp_path / "new" / "file.json"
        output.write_json([result(1.0, {"A": 2.0}, operations=4.0)], path, seconds=0.1, complete=False)
        document = json.loads(path.read_text())
        assert document["schema"] == output.SCHEMA == "tinytorch-benchmarks/1"
        assert document["complete"] is False and "NumPy" in document["peers"]
        (entry,) = document["results"]
        assert entry["peers"]["A"]["ratio"]["value"] == pytest.approx(2.0)
        assert entry["peers"]["A"]["verdict"] == "faster"
        assert entry["samples"]["A"] == {"seconds": [2.0] * ROUNDS, "calls": 1}
        assert platform.node() not in path.read_text().replace(document["machine"]["cpu"], "")

    def test_plots(self, tmp_path):
        group = [result(1.0, {"A": 2.0}), result(1.0, {"B": 2.0}, shape="3 x 3"), result(1.0, {}, family="x")]
        output.write_plots(group, tmp_path)
        (picture,) = tmp_path.iterdir()
        assert picture.name == "fake-1.png" and picture.read_bytes()[1:4] == b"PNG"


class TestPeers:
    def test_what_is_missing_is_left_out_by_name(self, monkeypatch):
        monkeypatch.setattr(peers, "_FOUND", {**peers._FOUND, "PyTorch": None, "SciPy": None})
        for name in ("torch", "onnxruntime", "scipy_blas"):
            monkeypatch.setattr(peers, name, None)
        assert {"PyTorch", "SciPy"} <= set(peers.missing())
        assert "PyTorch" not in peers.versions() and "NumPy" in peers.versions()
        case = next(iter(importlib.import_module("benchmarks.matmul").cases(1)))
        assert list(case.peers) == ["NumPy"]

    def test_threads_are_given_and_given_back(self):
        before = kernels.get_num_threads()
        with peers.equal_threads(3):
            assert kernels.get_num_threads() == 3
        assert kernels.get_num_threads() == before

    def test_onnx_runtime_computes_what_it_is_told(self):
        if not peers.onnxruntime:
            pytest.skip("onnx and onnxruntime are not installed")
        a, b = np.ones((2, 3), np.float32), np.ones((4, 3), np.float32)
        for weights in ((), ("b",)):
            call = peers.onnx_call("Gemm", {"a": a, "b": b}, threads=1, weights=weights, transB=1)
            assert np.array_equal(call()[0].numpy(), a @ b.T)

    @pytest.mark.parametrize("family", run.families())
    def test_a_familys_first_case_computes_the_same_as_its_peers(self, family):
        case = next(iter(importlib.import_module(f"benchmarks.{family}").cases(1)))
        for call in case.own.values():
            call()
        for name, call in case.peers.items():
            difference = run._difference(case.ours, call)
            assert difference is None or difference <= output.SAME, name

    def test_training_steps_are_those_of_the_peers(self):
        pytest.importorskip("torch")
        for case in itertools.islice(training.cases(1), 2):
            losses = [[call() for _ in range(3)] for call in (case.ours, *case.peers.values())]
            for found in losses[1:]:
                assert found == pytest.approx(losses[0], rel=1e-5), case.shape


class TestCommandLine:
    @pytest.fixture
    def fake_family(self, monkeypatch):
        """A single family, whose third case is interrupted."""

        def interrupted():
            raise KeyboardInterrupt

        def cases(threads):
            for shape in ("small", "large"):
                yield Case("fake", shape, int, {"A": float})
            yield Case("fake", "endless", interrupted, {})

        monkeypatch.setattr(run, "families", lambda filters=(): ["fake"])
        monkeypatch.setitem(sys.modules, "benchmarks.fake", type(sys)("fake"))
        sys.modules["benchmarks.fake"].cases = cases

    def run(self, monkeypatch, *arguments):
        monkeypatch.setattr(sys, "argv", ["benchmarks", *arguments])
        # Without threadpoolctl, main() would start Python anew, in place of the tests.
        monkeypatch.setattr(__main__, "find_spec", lambda name: True)
        return __main__.main()

    def test_interrupted_it_keeps_what_it_has(self, fake_family, monkeypatch, tmp_path, capsys):
        path = tmp_path / "file.json"
        status = self.run(monkeypatch, "--threads", "1", "--seconds", "0.01", "--json", str(path))
        assert status == 130
        document = json.loads(path.read_text())
        assert [entry["shape"] for entry in document["results"]] == ["small", "large"]
        assert not document["complete"]
        assert "Interrupted" in capsys.readouterr().out

    def test_filters_choose_cases(self, fake_family, monkeypatch, capsys):
        assert self.run(monkeypatch, "--threads", "1", "--seconds", "0.01", "fake:small") == 0
        out = capsys.readouterr().out
        assert "small" in out and "large" not in out

    def test_list_measures_nothing(self, fake_family, monkeypatch, capsys):
        assert self.run(monkeypatch, "--list") == 0
        assert capsys.readouterr().out.splitlines() == [
            f"fake: fake {shape}" for shape in ("small", "large", "endless")
        ]

    def test_an_unknown_family_is_named(self, monkeypatch, capsys):
        assert self.run(monkeypatch, "no-such-family") == 2
        assert "no-such-family" in capsys.readouterr().out

    def test_families_are_the_modules_that_have_cases(self):
        assert "matmul" in run.families()
        for family, filters in itertools.product(run.families(), [(), [run.Filter("mat")]]):
            assert hasattr(importlib.import_module(f"benchmarks.{family}"), "cases")
            assert (family in run.families(filters)) == (not filters or family.startswith("mat"))
