"""The section holds what the report promises."""

from tinytorch.experiments import Context, acceleration
from tinytorch.kernels import lessons
from tinytorch.quantities import Measured


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
    assert all(isinstance(cell, Measured) for row in ladder.rows[3:] for cell in row[1:])
    assert all(step.flags in ladder.note for step in lessons.matmul)
    assert all(isinstance(row[3], Measured) and row[3].unit == "%" for row in peak.rows)
    assert [row[0] for row in pays.rows] == ["tiling", "packing"]
    assert len(section.summaries) == 5
    assert set(section.statements[0].quantities) == {"elements", "lists", "rows"}
