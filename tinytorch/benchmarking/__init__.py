"""Module 20: benchmarking. Comparing models so that somebody else would find the same.

`race` and `breakeven` are the tools to compare with: they take turns, so a machine that slows down slows
both, and give an interval instead of a number. A `Suite` is a set of races whose record names its machine;
`compare_records` says what changed between two of them, `leaderboard` ranks a folder of them. `Benchmark` and
`TinyMLPerf` measure whole models.
"""

from tinytorch.benchmarking.competition import (
    CompetitionProfiler,
    InnovationDetector,
    TinyMLPerfCompetition,
    TinyMLPerfCompetitionPlus,
)
from tinytorch.benchmarking.leaderboards import Leaderboard, leaderboard
from tinytorch.benchmarking.models import Benchmark, BenchmarkSuite
from tinytorch.benchmarking.results import BenchmarkResult
from tinytorch.benchmarking.shipped import SUITES, suite
from tinytorch.benchmarking.significance import Comparison, compare_records
from tinytorch.benchmarking.submission import (
    BenchmarkReport,
    SimpleMLP,
    generate_submission,
    save_submission,
    validate_submission_schema,
)
from tinytorch.benchmarking.suites import Suite, SuiteRecord, load_record
from tinytorch.benchmarking.testers import (
    AccuracyTester,
    PerformanceTester,
    PerformanceTimer,
    create_test_data,
)
from tinytorch.benchmarking.tinymlperf import TinyMLPerf
from tinytorch.profiling import MemoryProfiler
from tinytorch.timing import Breakeven, Race, Races, breakeven, machine, noise_floor, race, race_many

__all__ = [
    "SUITES",
    "AccuracyTester",
    "Benchmark",
    "BenchmarkReport",
    "BenchmarkResult",
    "BenchmarkSuite",
    "Breakeven",
    "Comparison",
    "CompetitionProfiler",
    "InnovationDetector",
    "Leaderboard",
    "MemoryProfiler",
    "PerformanceTester",
    "PerformanceTimer",
    "Race",
    "Races",
    "SimpleMLP",
    "Suite",
    "SuiteRecord",
    "TinyMLPerf",
    "TinyMLPerfCompetition",
    "TinyMLPerfCompetitionPlus",
    "breakeven",
    "compare_records",
    "create_test_data",
    "generate_submission",
    "leaderboard",
    "load_record",
    "machine",
    "noise_floor",
    "race",
    "race_many",
    "save_submission",
    "suite",
    "validate_submission_schema",
]
