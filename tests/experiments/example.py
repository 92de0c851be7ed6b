"""A record with one of everything in it, for the tests of records and of the report."""

import math

from tinytorch import timing
from tinytorch.experiments.records import (
    Chart,
    Connections,
    HeatMap,
    Record,
    Section,
    Series,
    Source,
    Summary,
    Table,
)
from tinytorch.quantities import Measured, Modelled, Quoted


def example_record(status="complete"):
    race = timing.race(lambda: None, lambda: None, rounds=8, repeats={"a": 1, "b": 1})
    many = timing.race_many({"a": int, "b": int, "c": int}, rounds=3, repeats={"a": 1, "b": 1, "c": 1})
    found = timing.breakeven(lambda n: int, lambda n: int, [1, 2], rounds=8, refine=0, sample_seconds=1e-6)
    table = Table(
        "Times & <sizes>", ["name", "time"], [["a", Measured(1e-3, "s", 0.9e-3, 1.1e-3, 8)], ["b", None]]
    )
    section = Section(
        "example",
        "An example",
        ["It <helps> when it helps."],
        [Source("A paper", "https://doi.org/10.1145/1356052.1356053")],
        tables=[table],
        figures=[
            Chart(
                "Lines",
                "n",
                "s",
                [Series("a", [1.0, 2.0], [1.0, 2.0], [0.9, 1.9], [1.1, 2.1])],
                marks=[(1.5, "here")],
            ),
            Chart("Bars", "", "s", [Series("a", ["x", "y"], [1.0, 2.0])], kind="bar"),
            HeatMap("Weights", [[0.0, -1.0], [1.0, 0.5]]),
            Connections("Network", [[[0.0, 1.0], [-1.0, 0.5]], [[1.0], [0.0]]]),
        ],
        summaries=[
            Summary(
                "example",
                Measured(3.0, "×", 2.9, 3.1, 8),
                Quoted(4.0, "×", "a paper"),
                Modelled(0.1, "%", "a − b"),
            )
        ],
        samples={"race": race, "many": many, "found": found, "odd": math.inf},
    )
    section.say("It is {gain} faster.", gain=Measured(3.0, "×", 2.9, 3.1, 8))
    return Record(
        "quick", timing.machine(), 0.95, 4, [section], Measured(1.02, "×", 1.0, 1.02, 9), status=status
    )
