"""Records keep every number's origin, and come back from JSON as they went in."""

import json

import pytest

from experiments.example import example_record
from tinytorch.experiments import records
from tinytorch.experiments.records import (
    Record,
    Series,
    Statement,
    Summary,
    Table,
    from_json,
    to_json,
)
from tinytorch.quantities import Measured, Modelled


def test_record_survives_json():
    record = example_record()
    assert from_json(to_json(record)) == record


def test_json_is_strict_and_names_schema_and_origins():
    text = to_json(example_record())
    raw = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert raw["schema"] == records.SCHEMA_VERSION
    cell = raw["sections"][0]["tables"][0]["rows"][0][1]
    assert cell["type"] == "Measured" and cell["tag"] == "measured" and cell["n"] == 8
    assert len(raw["sections"][0]["samples"]["race"]["seconds"][0]) == 8


@pytest.mark.parametrize(
    "text, message",
    [
        ('{"type": "Record", "sch', "cut short"),
        ("[1, 2]", "not a TinyTorch record"),
        ('{"type": "Record", "schema": 999}', "schema 999"),
        ('{"type": "Record", "schema": 1}', "damaged"),
    ],
)
def test_other_json_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        from_json(text)


@pytest.mark.parametrize(
    "build",
    [
        lambda: Table("t", ["a"], [[3.0]]),
        lambda: Table("t", ["a"]).add(7),
        lambda: Summary("s", speedup=3.0),
        lambda: Statement("{x} faster", x=3.0),
    ],
)
def test_bare_numbers_are_refused(build):
    with pytest.raises(TypeError, match="Measured"):
        build()


def test_wrong_shapes_are_explained():
    with pytest.raises(ValueError, match="2 cells for 1 columns"):
        Table("t", ["a"], [["x", "y"]])
    with pytest.raises(ValueError, match="differ in length"):
        Series("s", [1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match="the text names"):
        Statement("{x} faster", y=Measured(1.0, "×"))
    with pytest.raises(ValueError, match="one origin"):
        Series.of("s", [1, 2], [Measured(1.0, "s"), Modelled(2.0, "s", "2 × 1")])
    with pytest.raises(TypeError, match="cannot store"):
        to_json(Record("quick", {"odd": object()}, 0.95, 1))


def test_records_hold_no_machine_names():
    import getpass
    import platform

    text = to_json(example_record())
    assert platform.node() not in text
    assert f'"{getpass.getuser()}"' not in text
