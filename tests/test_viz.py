"""Pictures show the data they were given, look the same twice, and leave the caller's settings alone."""

import matplotlib
import numpy as np
import pytest
from experiments.example import example_record

from tinytorch import timing, viz
from tinytorch.experiments.records import Chart, Series
from tinytorch.profiling import Roofline
from tinytorch.quantities import Measured


def test_lines_show_data_band_marks_and_level():
    figure = viz.draw(
        Chart(
            "t",
            "n",
            "s",
            [Series("a", [1.0, 2.0, 4.0], [3.0, 2.0, 1.0], [2.5, 1.5, 0.5], [3.5, 2.5, 1.5])],
            x_scale="log",
            marks=[(1.5, "pays")],
            level=1.0,
        )
    )
    axes = figure.axes[0]
    line = next(line for line in axes.lines if line.get_label() == "a")
    np.testing.assert_array_equal(line.get_xydata(), [[1, 3], [2, 2], [4, 1]])
    assert len(axes.collections) == 1
    assert [text.get_text() for text in axes.texts] == ["pays"]
    assert len(axes.lines) == 3  # the data, the mark, the level


def test_modelled_lines_are_dashed_and_named_so():
    axes = viz.draw(
        Chart("t", "", "", [Series("a", [1.0], [1.0], tag="modelled"), Series("b", [1.0], [2.0])])
    ).axes[0]
    assert axes.lines[0].get_linestyle() == "--" and "modelled" in axes.lines[0].get_label()
    assert axes.lines[1].get_linestyle() == "-"


def test_bars_are_as_long_as_their_values():
    axes = viz.draw(Chart("t", "", "s", [Series("a", ["x", "y"], [1.0, 5.0])], kind="bar")).axes[0]
    assert [bar.get_width() for bar in axes.patches] == [1.0, 5.0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["x", "y"]


def test_pruned_connections_are_not_drawn():
    figure = viz.connections([np.array([[0.0, 1.0], [2.0, 0.0], [0.0, 0.0]])])
    assert len(figure.axes[0].collections[0].get_segments()) == 2


def test_a_notebook_shows_a_figure():
    figure = viz.lines([{"name": "a", "x": [1, 2], "y": [1, 2]}])
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_images_stand_in_rows_with_their_captions():
    pictures = np.arange(3 * 4 * 5, dtype=float).reshape(3, 4, 5)
    axes = viz.images(pictures, ["a", "b", "c"], columns=2).axes
    assert [a.get_title() for a in axes] == ["a", "b", "c", ""]
    for shown, picture in zip(axes, pictures, strict=False):
        np.testing.assert_array_equal(shown.images[0].get_array(), picture)
    assert not axes[3].images
    with pytest.raises(ValueError, match="2 captions for 3 pictures"):
        viz.images(pictures, ["a", "b"])
    with pytest.raises(ValueError, match=r"\(N, H, W\)"):
        viz.images(pictures[0])


def test_signed_heat_map_is_symmetric_about_zero():
    image = viz.heat_map([[-1.0, 4.0]]).axes[0].images[0]
    assert image.get_clim() == (-4.0, 4.0)


def test_removed_cells_are_grey_and_blocks_framed():
    values, removed = [[1.0, -2.0, 4.0, 0.5]], [[True, True, False, False]]
    axes = viz.heat_map(values, color_scale="log", removed=removed, block=2).axes[0]
    colors, grey = axes.images
    assert colors.norm(-4.0) == 0 and colors.norm(4.0) == 1 and colors.norm(0.5) > 0.6  # log: small, yet seen
    np.testing.assert_array_equal(grey.get_array().mask, ~np.array(removed))
    (frames,) = axes.collections
    (frame,) = frames.get_paths()
    assert frame.get_extents().bounds == (1.5, -0.5, 2.0, 1.0)


def test_pruned_weights_before_and_after():
    weight = np.array([[1.0, -2.0], [0.1, 3.0]])
    before, after = viz.pruned_weights(weight, np.abs(weight) > 0.5).axes[:2]
    np.testing.assert_array_equal(before.images[0].get_array(), weight)
    assert after.get_title() == "25 % removed" and len(before.images) == 1 and len(after.images) == 2
    with pytest.raises(ValueError, match="a mask of its shape"):
        viz.pruned_weights(weight, np.ones((2, 3)))


def test_histogram_marks_the_threshold():
    weight = np.array([-3.0, -1.0, 0.5, 2.0])
    axes = viz.weight_histogram(weight, np.abs(weight) >= 1, bins=6).axes[0]
    kept, removed = (patch.get_data().values for patch in axes.patches)
    assert list(kept) == [1, 0, 1, 0, 0, 1] and list(removed) == [0, 0, 0, 1, 0, 0]
    assert [line.get_xdata()[0] for line in axes.lines] == [-1.0, 1.0]
    assert not viz.weight_histogram(weight, [True, False, True, True]).axes[0].lines  # no threshold did this
    with pytest.raises(ValueError, match="a mask of their shape"):
        viz.weight_histogram(weight, [True])


def test_roofline_bends_where_the_ceilings_meet():
    peak, bandwidth = Measured(100.0, "GFLOP/s"), Measured(20.0, "GB/s")
    dot = Roofline("thin", 1.0, Measured(10.0, "GFLOP/s"), bandwidth, "memory", peak, bandwidth)
    axes = viz.roofline([dot]).axes[0]
    x, y = axes.lines[0].get_data()
    np.testing.assert_allclose(y, np.minimum(100.0, 20.0 * x))
    assert x[0] < 1.0 < 5.0 < x[-1]
    assert (axes.lines[1].get_xdata()[0], axes.lines[1].get_ydata()[0]) == (1.0, 10.0)


def test_the_same_data_give_the_same_svg():
    chart = example_record().sections[0].figures[0]
    assert viz.svg(viz.draw(chart)) == viz.svg(viz.draw(chart))


def test_png_is_a_png():
    assert viz.png(viz.heat_map([[1.0]])).startswith(b"\x89PNG")


def test_settings_of_the_caller_are_kept():
    before = dict(matplotlib.rcParams)
    viz.svg(viz.heat_map([[1.0]]))
    assert dict(matplotlib.rcParams) == before


def test_unknown_pictures_are_refused():
    with pytest.raises(TypeError, match="Chart"):
        viz.draw([1, 2, 3])


def test_pareto_joins_those_that_nothing_beats():
    points = {"best": (1.0, 0.9), "slow": (3.0, 0.95), "beaten": (2.0, 0.8), "equal": (1.0, 0.9)}
    axes = viz.pareto(points).axes[0]
    frontier = axes.lines[0].get_xydata().tolist()
    assert frontier == [[1.0, 0.9], [1.0, 0.9], [3.0, 0.95]]
    assert [text.get_text() for text in axes.texts] == list(points)
    with pytest.raises(ValueError, match="no points"):
        viz.pareto({})


def test_race_pictures_show_every_sample():
    races = timing.Races({"a": (1.0, 2.0, 3.0), "b": (4.0, 5.0, 6.0)}, {"a": 1, "b": 1}, 1.0, 0.95, {})
    for race in (races, races.between("a", "b")):
        axes = viz.race_strips(race).axes[0]
        assert [list(line.get_xdata()) for line in axes.lines[::2]] == [[1, 2, 3], [4, 5, 6]]
        assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b"]
    patches = viz.noise_distribution(races.between("a", "b")).axes[0].patches
    assert sum(patch.get_height() for patch in patches if patch.get_width() < 1) >= 3
