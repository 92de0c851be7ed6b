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
    np.testing.assert_array_equal(grey.get_array().mask[::4, ::4], ~np.array(removed))
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
    with pytest.raises(ValueError, match="a mask of its shape"):
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
    assert viz.pareto(points, x_scale="log").axes[0].get_xscale() == "log"


def test_race_pictures_show_every_sample():
    races = timing.Races({"a": (1.0, 2.0, 3.0), "b": (4.0, 5.0, 6.0)}, {"a": 1, "b": 1}, 1.0, 0.95, {})
    for race in (races, races.between("a", "b")):
        axes = viz.race_strips(race).axes[0]
        assert [list(line.get_xdata()) for line in axes.lines[::2]] == [[1, 2, 3], [4, 5, 6]]
        assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b"]
    patches = viz.noise_distribution(races.between("a", "b")).axes[0].patches
    assert sum(patch.get_height() for patch in patches if patch.get_width() < 1) >= 3


def luminance(color):
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a, b):
    """As WCAG 2 defines it."""
    dark, light = sorted([luminance(a), luminance(b)])
    return (light + 0.05) / (dark + 0.05)


def test_everything_can_be_seen_on_light_and_dark_pages():
    for page in (viz.THEMES["light"].background, viz.THEMES["dark"].background):
        assert min(contrast(color, page) for color in viz.COLORS) >= 3
        assert contrast(viz.THEMES["page"].ink, page) >= 4.2
    for name, theme in viz.THEMES.items():
        assert name == "page" or contrast(theme.ink, theme.background) >= 12


def test_series_differ_by_more_than_colour():
    series = [{"name": str(i), "x": [1, 2], "y": [1, 2]} for i in range(6)]
    lines = viz.lines(series).axes[0].lines
    assert len({line.get_marker() for line in lines}) == 6
    bars = viz.bars(series).axes[0].containers
    assert len({bar.patches[0].get_hatch() for bar in bars if hasattr(bar, "patches")}) == 6


def test_themes_set_size_type_and_background():
    series = [{"name": "a", "x": [1, 2], "y": [1, 2]}]
    plain = viz.lines(series, title="t")
    with viz.theme("lecture-dark"):
        large = viz.lines(series, title="t")
    after = viz.lines(series, title="t")
    assert large.axes[0].title.get_fontsize() >= 18 > plain.axes[0].title.get_fontsize()
    assert large.get_figwidth() > plain.get_figwidth() == after.get_figwidth()
    assert plain.get_facecolor()[3] == 0 and large.get_facecolor()[3] == 1
    with pytest.raises(ValueError, match="page, light, dark"), viz.theme("neon"):
        pass


def test_text_on_a_page_has_the_pages_colour():
    assert "currentColor" in viz.svg(viz.heat_map([[1.0]], title="t"))
    with viz.theme("light"):
        assert "currentColor" not in viz.svg(viz.heat_map([[1.0]], title="t"))


def test_gaps_are_told():
    axes = viz.lines([{"name": "loss", "x": [1, 2, 3], "y": [1.0, np.nan, np.inf]}]).axes[0]
    assert axes.lines[0].get_label() == "loss, 2 values not finite"


def crossing():
    """A break-even between 200 and 400 with little noise."""
    rng = np.random.default_rng(0)

    def race(ratio):
        slow, quick = 1e-3 * rng.lognormal(0, 0.01, (2, 20))
        times = {"a": tuple(slow), "b": tuple(quick / ratio)}
        return timing.Races(times, {"a": 1, "b": 1}, 1.0, 0.95, {}).between("a", "b")

    return timing.locate({100: race(0.5), 200: race(0.8), 400: race(1.3), 800: race(2.0)}, unit="rows")


def test_break_even_shows_its_interval_and_the_guess():
    found = crossing()
    axes = viz.break_even(found, guess=(400, 3.0)).axes[0]
    (band,) = [patch for patch in axes.patches if patch.get_width()]
    pays = found.pays_from
    assert (band.get_x(), band.get_x() + band.get_width()) == (pays.low, pays.high)
    assert [text.get_text() for text in axes.texts] == ["pays from here", "your guess"]
    times = viz.break_even(found, show="time").axes[0].lines
    assert times[0].get_label() == "a" and times[1].get_ydata()[-1] == pytest.approx(5e-4, rel=0.05)


def test_seconds_are_written_as_people_write_them():
    axis = (
        viz.lines([{"name": "a", "x": [1, 2], "y": [1e-6, 1e-3]}], y_label="s", y_scale="log").axes[0].yaxis
    )
    assert axis.get_major_formatter()(2e-6) == "2 µs"


def test_token_latency_sums_up():
    axes = viz.token_latency({"with": [0.001] * 4, "without": [0.001, 0.002, 0.003, 0.004]}).axes[0]
    assert [line.get_label() for line in axes.lines] == [
        "with: 4 ms for 4 tokens",
        "without: 10 ms for 4 tokens",
    ]
    assert axes.get_ylim()[0] == 0


def test_a_series_of_bars_may_lack_names():
    series = [{"name": "a", "x": ["u", "v"], "y": [1, 2]}, {"name": "b", "x": ["v"], "y": [3]}]
    axes = viz.bars(series).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["u", "v"]
    (only,) = axes.containers[1].patches
    assert only.get_width() == 3 and round(only.get_y() + only.get_height() / 2) == 1


def test_amdahl_bars_are_as_long_as_the_time():
    axes = viz.amdahl_bars(0.75, 3, name="conv", measured=Measured(1.6, "×", 1.5, 1.7, 9)).axes[0]
    widths = [bar.get_width() for bar in axes.patches]
    assert widths == pytest.approx([25, 25, 75, 25, 100 / 1.6])
    assert "modelled" in axes.get_yticklabels()[1].get_text()
    assert viz.amdahl_bars(0.5, np.inf).axes[0].texts[1].get_text() == "2×"


def test_paired_strips_join_the_rounds():
    found = crossing().races[0]
    (pairs,) = viz.race_strips(found).axes[0].collections
    assert [segment[:, 0].tolist() for segment in pairs.get_segments()] == [
        list(pair) for pair in zip(*found.seconds, strict=True)
    ]


def test_connections_before_and_after():
    weights = [np.array([[1.0, -2.0], [3.0, 4.0]])]
    before, after = viz.connections(weights, keep=[weights[0] > 2]).axes
    assert [len(axes.collections[0].get_segments()) for axes in (before, after)] == [4, 2]
    assert after.get_title() == "50 % removed"


def misses(order, **options):
    return list(viz.memory_steps(order, **options))[-1].misses


def test_loop_orders_miss_as_often_as_counted_by_hand():
    # Nothing is ever dropped: every line of 3 matrices of 4 x 4 misses once.
    assert misses("ijk", size=4, line=4, lines=12) == 12
    # One line at a time: A, B and C push each other out at every access.
    assert misses("ikj", size=2, line=2, lines=1) == 3 * 2**3
    assert misses("ikj") < misses("ijk") < misses("jki")


def test_loop_orders_move_and_stand_still():
    figure = viz.loop_orders(("ijk", "ikj"), size=4, frames=2)
    assert len(figure.axes) == 4 and "misses" in figure.axes[0].get_xlabel()
    animation = viz.animate_loop_orders(("ikj",), size=2, steps=3)
    assert animation.gif.startswith(b"GIF8") and "data:image/gif" in animation._repr_html_()


W, NAN = np.ones((2, 3)), np.array([[1.0, np.nan]])
MISUSE = [
    (lambda: viz.lines([]), "no series to draw"),
    (lambda: viz.lines([{"name": "a", "x": [1, 2], "y": [1.0]}]), "'a' has {'x': 2, 'y': 1}"),
    (lambda: viz.lines([{"name": "a", "x": [1], "y": [np.nan]}]), "no finite value"),
    (lambda: viz.lines([{"name": "a", "x": [1, 2], "y": [1, 0]}], y_scale="log"), "has 0 at 1.*y_scale="),
    (lambda: viz.lines([{"name": "a", "x": [0, 2], "y": [1, 1]}], x_scale="log"), "x_scale='linear'"),
    (lambda: viz.lines([{"name": "a", "x": [1], "y": [1]}], y_scale="loog"), "'linear', 'log', got 'loog'"),
    (lambda: viz.bars([{"name": "a", "x": ["u"], "y": [np.nan]}]), "series 'a' holds 1 values"),
    (lambda: viz.heat_map([1.0, 2.0]), r"must be \(rows, columns\), got shape \(2,\).*values\[None\]"),
    (lambda: viz.heat_map(np.ones((0, 3))), "values is empty"),
    (lambda: viz.heat_map(NAN), r"NaN or infinite, the first at \(0, 1\)"),
    (lambda: viz.heat_map([[1.0], [1.0, 2.0]]), "rows of equal length"),
    (lambda: viz.heat_map(W, removed=W.T > 0), "the weights are"),
    (lambda: viz.pruned_weights(np.ones((4, 3, 3, 3)), W), "for a convolution"),
    (lambda: viz.pruned_weights(NAN, NAN > 0), "NaN"),
    (lambda: viz.weight_histogram([]), "empty"),
    (lambda: viz.connections([]), "no layers"),
    (lambda: viz.connections([W, W]), "3 outputs.*takes 2 inputs"),
    (lambda: viz.connections([W], keep=[]), "0 masks for 1 layers"),
    (lambda: viz.roofline([]), "no points"),
    (lambda: viz.token_latency({"a": []}), "times of 'a' is empty"),
    (lambda: viz.amdahl_bars(62, 4), "divide percent by 100"),
    (lambda: viz.pareto({"a": (1.0, np.nan)}), "point 'a' holds"),
    (lambda: viz.pareto({"a": (1.0, 2.0, 3.0)}), r"must be \(x, y\)"),
    (lambda: viz.images(np.ones((1, 2, 2)), columns=0), "columns"),
    (lambda: viz.loop_orders(("iij",)), "name i, j and k once"),
    (lambda: viz.loop_orders(frames=0), "frames"),
    (lambda: viz.break_even(crossing(), show="speed"), "'ratio', 'time'"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "message"), MISUSE)
def test_mistakes_are_named(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call()
