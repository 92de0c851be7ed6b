"""The rungs compute the same product, and the section holds what the report promises."""

import numpy as np
import pytest

from tinytorch.experiments import Context, acceleration
from tinytorch.quantities import Measured


@pytest.fixture
def operands():
    rng = np.random.default_rng(0)
    return rng.integers(-3, 4, (5, 7)).astype(np.float32), rng.integers(-3, 4, (7, 4)).astype(np.float32)


def test_python_rungs_multiply(operands):
    a, b = operands
    out = np.empty((5, 4), np.float32)
    for rung in (acceleration.matmul_elements, acceleration.matmul_rows_by_columns):
        out.fill(np.nan)
        rung(a, b, out)
        np.testing.assert_array_equal(out, a @ b)
    np.testing.assert_array_equal(acceleration.matmul_lists(a.tolist(), b.tolist()), a @ b)


def test_section_holds_ladder_peak_and_break_even(monkeypatch):
    for name in ("LADDER_SIZES", "PEAK_SIZES", "IDEA_SIZES"):
        monkeypatch.setattr(acceleration, name, [8] if name == "LADDER_SIZES" else [[8, 16]])
    monkeypatch.setattr(Context, "choose", lambda self, quick, *others: quick)
    context = Context("quick", claims=acceleration.CLAIMS)
    section = acceleration.describe()
    acceleration.measure(section, context)
    ladder, peak, pays = section.tables
    names = [row[0] for row in ladder.rows]
    assert names[:3] == [acceleration.ELEMENTS, acceleration.LISTS, acceleration.ROWS]
    assert names[-1] == acceleration.KERNEL
    assert all(isinstance(cell, Measured) for row in ladder.rows[3:] for cell in row[2:])
    assert all(isinstance(row[3], Measured) and row[3].unit == "%" for row in peak.rows)
    assert [row[0] for row in pays.rows] == ["tiling", "packing"]
    assert len(section.summaries) == 5
    assert set(section.statements[0].quantities) == {"elements", "lists", "rows"}
