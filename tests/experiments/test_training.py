"""The training experiment holds a row for each model and its slowest layers."""

from tinytorch.experiments import Context, training


def test_section_holds_every_model(monkeypatch):
    monkeypatch.setattr(training, "STEPS", (2, 2, 2))
    monkeypatch.setattr(training, "BATCH", (2, 2, 2))
    monkeypatch.setattr(training, "GPT_LENGTH", 8)
    section = training.describe()
    training.measure(section, Context("quick"))
    whole, *layers = section.tables
    assert [row[0] for row in whole.rows] == ["MLP", "CNN", "GPT"]
    assert len(layers) == 3 and all(table.rows for table in layers)
    (shares,) = section.figures
    for total in zip(*(series.y for series in shares.series), strict=True):
        assert abs(sum(total) - 100) < 1e-6


def test_blocks_are_added_up():
    assert training._same_in_every_block("blocks.3.mlp.linear1") == "blocks.*.mlp.linear1"
    assert training._same_in_every_block("layers.3") == "layers.3"
