"""The graph that `backward` walks, drawn as SVG for notebooks."""

from __future__ import annotations

from html import escape
from typing import Any

from .engine import Function, topological_order

WIDTH, HEIGHT, GAP_X, GAP_Y = 150, 40, 24, 36
LARGEST = 300  # nodes; more is no picture any more
FILL = {"operation": "#0072B2", "leaf": "#009E73", "output": "#D55E00"}  # Okabe and Ito's palette
TIP = (
    '<marker id="tip" markerWidth="8" markerHeight="8" refX="7" refY="3" orient="auto">'
    '<path d="M0,0 L7,3 L0,6 z" fill="#7a7f87"/></marker>'
)


class GraphDrawing:
    """A drawing that a notebook shows. `svg` is its text, for a file."""

    def __init__(self, svg: str) -> None:
        self.svg = svg

    def _repr_svg_(self) -> str:
        return self.svg


def draw_graph(tensor: Any, names: dict[str, Any] | None = None) -> GraphDrawing:
    """Draw how a tensor was computed: its operations from the inputs (top) to the result (bottom).

    Parameters
    ----------
    tensor : Tensor
        A result that `backward` has not been through.
    names : dict, optional
        Names for leaves, such as ``dict(model.named_parameters())``.

    Raises
    ------
    ValueError
        If the tensor has no graph, or the graph is too large to be seen.
    """
    root = tensor._grad_fn
    if root is None or root.next_functions is None:
        raise ValueError(
            "draw_graph: this tensor has no graph: it was not computed from tensors that require a gradient, "
            "or backward has freed it"
        )
    known = {id(value): name for name, value in (names or {}).items()}
    order = topological_order(root)
    edges = [(source, node) for node in order for source in node.next_functions or () if source is not None]
    depth = _depths(order)
    leaves = {id(source): source for source, _ in edges if not isinstance(source, Function)}
    if len(order) + len(leaves) > LARGEST:
        raise ValueError(
            f"draw_graph: {len(order) + len(leaves)} nodes are more than can be seen ({LARGEST}); "
            "draw a smaller model, or a result inside it"
        )
    places, size = _places(
        [*order, *leaves.values()], depth, {id(n): d for n, d in _leaf_depths(edges, depth)}
    )
    lines = [_arrow(places[id(source)], places[id(node)]) for source, node in edges]
    boxes = []
    for node in order:
        kind = "output" if node is root else "operation"
        name = type(node).__name__.removesuffix("Backward")
        boxes.append(_box(places[id(node)], name, str((node._layout or ("",))[0]), kind))
    for key, leaf in leaves.items():
        boxes.append(_box(places[key], known.get(key, "leaf"), str(leaf.shape), "leaf"))
    width, height = size
    return GraphDrawing(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" font-family="sans-serif" font-size="12"><defs>{TIP}'
        f"</defs>{''.join(lines)}{''.join(boxes)}</svg>"
    )


def _depths(order: list[Function]) -> dict[int, int]:
    """For each node, the longest way from the result."""
    depth = {id(order[0]): 0}
    for node in order:  # each comes before what it depends on
        for source in node.next_functions or ():
            if isinstance(source, Function):
                depth[id(source)] = max(depth.get(id(source), 0), depth[id(node)] + 1)
    return depth


def _leaf_depths(edges: list[tuple[Any, Function]], depth: dict[int, int]) -> list[tuple[Any, int]]:
    """Each leaf one row above the highest operation that uses it."""
    found: dict[int, tuple[Any, int]] = {}
    for source, node in edges:
        if not isinstance(source, Function):
            above = depth[id(node)] + 1
            if id(source) not in found or found[id(source)][1] < above:
                found[id(source)] = (source, above)
    return list(found.values())


def _places(
    things: list[Any], depth: dict[int, int], leaf_depth: dict[int, int]
) -> tuple[dict[int, tuple[float, float]], tuple[int, int]]:
    """The top left corner of each box, and the size of the whole: one row for each depth, centred."""
    depth = {**depth, **leaf_depth}
    rows: dict[int, list[Any]] = {}
    for thing in things:
        rows.setdefault(depth[id(thing)], []).append(thing)
    widest = max(map(len, rows.values()))
    total = widest * (WIDTH + GAP_X)
    places: dict[int, tuple[float, float]] = {}
    for level, row in rows.items():
        left = (total - len(row) * (WIDTH + GAP_X) + GAP_X) / 2
        top = (max(rows) - level) * (HEIGHT + GAP_Y) + 4
        places.update({id(thing): (left + i * (WIDTH + GAP_X), top) for i, thing in enumerate(row)})
    return places, (total, (max(rows) + 1) * (HEIGHT + GAP_Y))


def _arrow(source: tuple[float, float], target: tuple[float, float]) -> str:
    x1, y1, x2, y2 = source[0] + WIDTH / 2, source[1] + HEIGHT, target[0] + WIDTH / 2, target[1]
    return f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="#7a7f87" marker-end="url(#tip)"/>'


def _box(place: tuple[float, float], name: str, shape: str, kind: str) -> str:
    x, y = place
    middle = x + WIDTH / 2
    return (
        f'<rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="6" fill="{FILL[kind]}" '
        f'fill-opacity="0.15" stroke="{FILL[kind]}"/>'
        f'<text x="{middle}" y="{y + 17}" text-anchor="middle" fill="{FILL[kind]}">{escape(name)}</text>'
        f'<text x="{middle}" y="{y + 32}" text-anchor="middle" fill="#7a7f87" font-size="10">{escape(shape)}'
        "</text>"
    )
