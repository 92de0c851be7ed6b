"""What a faster layer would be worth: Amdahl's estimate, and the experiment that checks it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tinytorch import timing
from tinytorch.autograd.engine import no_grad
from tinytorch.module import Module
from tinytorch.profiling.layers import LayerTable, profile_layers
from tinytorch.quantities import Measured, Modelled
from tinytorch.timing import Race

FORMULA = "Amdahl 1967: 1 / (1 - share + share / factor)"


def amdahl(share: float, factor: float) -> float:
    """How many times faster the whole gets when `share` of its time gets `factor` times faster.

    Parameters
    ----------
    share : float
        Of the whole time, from 0 to 1.
    factor : float
        Above 0; ``math.inf`` when that part would take no time at all.

    Examples
    --------
    >>> amdahl(0.5, 4)
    1.6
    """
    if not 0 <= share <= 1:
        raise ValueError(
            f"amdahl: share is a part of the whole time, from 0 to 1, got {share}"
            + ("; divide percent by 100" if 1 < share <= 100 else "")
        )
    if not factor > 0:
        raise ValueError(f"amdahl: factor says how many times faster, so above 0, got {factor}")
    rest = 1 - share + share / factor
    return 1 / rest if rest > 0 else math.inf


def what_if(table: LayerTable, layer: str, factor: float) -> Modelled:
    """How many times faster the whole model would be if `layer` were `factor` times faster."""
    return Modelled(amdahl(table.share(layer).value / 100, factor), "×", FORMULA)


@dataclass(frozen=True)
class WhatIf:
    """A prediction and its check.

    Attributes
    ----------
    layer : str
    share : Measured
        Percentage of the pass that the layer takes, layers inside it included.
    layer_gain : Measured
        How many times faster the replacement is than the layer, on the layer's own input.
    predicted : Modelled
        Of the whole model, by Amdahl's law.
    measured : Race
        The whole model with the replacement against the whole model without.
    """

    layer: str
    share: Measured
    layer_gain: Measured
    predicted: Modelled
    measured: Race

    @property
    def off_by(self) -> float:
        """Measured gain / predicted gain - 1. Layers share caches and memory, so it is seldom exactly 0."""
        return self.measured.ratio.value / self.predicted.value - 1

    def __str__(self) -> str:
        return (
            f"{self.layer} takes {self.share} of the time. With one that is {self.layer_gain} faster, the "
            f"whole should be {self.predicted} faster (modelled) and is {self.measured.ratio} (measured): "
            f"{100 * self.off_by:+.0f} %."
        )


def check_what_if(
    model: Module,
    x: Any,
    layer: str,
    replacement: Callable[..., Any] | None = None,
    *,
    seconds: float = 1.0,
    noise: float = 1.0,
    table: LayerTable | None = None,
) -> WhatIf:
    """Replace a layer by a faster one, and see whether the whole gains what Amdahl's law says.

    Parameters
    ----------
    model, x
        As `profile_layers` takes them.
    layer : str
        Its name in the table.
    replacement : callable, optional
        Called in place of the layer. The default replays the layer's own last output, which is as fast as a
        layer can be.
    seconds : float
        About how long each of the three measurements may take.
    table : LayerTable, optional
        One measured before.
    """
    table = table or profile_layers(model, x, seconds=seconds)
    share = table.share(layer)
    module = _find(model, layer)
    inputs, output = _recorded(model, x, module)
    faster = replacement or (lambda *inputs, **options: output)
    original = module.forward

    def whole() -> Any:
        return model(x)

    def whole_with_replacement() -> Any:
        with _replaced(module, faster):
            return model(x)

    with no_grad():
        alone = timing.race(
            lambda: original(*inputs), lambda: faster(*inputs), names=(layer, "replacement"), seconds=seconds
        )
        race = timing.race(
            whole,
            whole_with_replacement,
            names=("model", "with the replacement"),
            seconds=seconds,
            noise=noise,
        )
    predicted = Modelled(amdahl(share.value / 100, alone.ratio.value), "×", FORMULA)
    return WhatIf(layer, share, alone.ratio, predicted, race)


def _find(model: Module, name: str) -> Module:
    modules = dict(model.named_modules())
    if name not in modules or modules[name] is model:
        raise ValueError(
            f"check_what_if: the layer to replace lies inside the model; there are "
            f"{', '.join(key for key in modules if key)}, got {name!r}"
        )
    return modules[name]


def _recorded(model: Module, x: Any, module: Module) -> tuple[tuple, Any]:
    """What the layer was given and what it gave, in one pass."""
    seen: list[tuple[tuple, Any]] = []
    with no_grad(), module.register_forward_hook(lambda _, inputs, output: seen.append((inputs, output))):
        model(x)
    if not seen:
        raise ValueError(f"check_what_if: this input does not reach the layer {type(module).__name__}")
    return seen[-1]


@contextmanager
def _replaced(module: Module, forward: Callable[..., Any]) -> Iterator[None]:
    vars(module)["forward"] = forward
    try:
        yield
    finally:
        del vars(module)["forward"]
