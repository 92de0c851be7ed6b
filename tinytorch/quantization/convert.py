"""`quantize`: a trained model in, one that computes on integers out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

from tinytorch.acceleration import (
    Convolution,
    Dense,
    InferenceModel,
    Stage,
    lower,
    map_stages,
)
from tinytorch.autograd import no_grad
from tinytorch.layers import Linear, Sequential
from tinytorch.module import Module
from tinytorch.replacing import copy_model
from tinytorch.spatial import Conv2d
from tinytorch.tensor import Tensor, from_numpy
from tinytorch.transformers import LanguageModel

from .layers import QuantizedLinear, replace_modules
from .observers import MinMaxObserver, observer_type
from .scales import Array
from .stages import ConvolutionDynamic, DenseDynamic, pack_weight
from .static import quantize_stages
from .weights import quantize_int4

Batches = Array | Tensor | Iterable[Any]


def quantize(
    model: Any,
    calibration: Batches | None = None,
    *,
    weights: str = "int8",
    activations: str | None = None,
    observer: str | type[MinMaxObserver] = "minmax",
    per_channel: bool = True,
    group_size: int = 32,
) -> Any:
    """The model in integers, after training (post-training quantization).

    Parameters
    ----------
    model : Module
        A trained chain of layers (`Sequential`, or with `layers`; residual blocks included), or any other
        module with Linear layers inside, such as a `GPT`.
    calibration : array (N, ...), or batches of them, optional
        Samples like those the model will see, from the training set; a hundred are enough for most models.
        Of batches that are pairs, such as a DataLoader's, the first part is taken. Token ids for a `GPT`.
    weights : "int8" or "int4"
        int4 keeps activations in float32, has one scale for each `group_size` inputs, needs no calibration.
    activations : "static" or "dynamic", optional
        How int8 activations get their scale: once, from the calibration data (the default where there are
        some), or from each input itself.
    observer : str or class
        "minmax", "moving average", "percentile" or "mse": how a static scale follows from what was seen.
    per_channel : bool
        One scale for each output of a layer's weights, or one for all.
    group_size : int
        A multiple of 32.

    Returns
    -------
    InferenceModel or Module
        From a chain of layers an `InferenceModel`, float32 in and out; with static activations all between
        is uint8, and it holds no float32 weights. From any other module a copy whose Linear layers are
        `QuantizedLinear`; what lies between them (softmax, layer norm, embeddings) stays in float32.

    Raises
    ------
    ValueError, TypeError
        The calibration data are missing, empty, of the wrong shape or hold NaN; the model is quantized
        already, or has a layer that has no integer form.
    """
    _check(model, weights, activations, calibration)
    static = activations == "static" or (activations is None and calibration is not None)
    if weights == "int4":
        return (
            quantize_int4(model, group_size) if is_chain(model) else _with_linears(model, weights, group_size)
        )
    if not is_chain(model):
        watch = observer_type(observer) if static else None
        return _with_linears(model, weights, group_size, watch, calibration)
    pack, stages = partial(pack_weight, per_channel=per_channel), lower(model)
    if static:
        with calibrating(model):
            return InferenceModel(
                quantize_stages(stages, batches_of(calibration, np.float32), observer_type(observer), pack)
            )
    return InferenceModel(map_stages(partial(_dynamic, pack=pack), stages))


def is_chain(model: Any) -> bool:
    """Whether the model applies its layers one after the other, as `acceleration.lower` reads them."""
    if isinstance(model, LanguageModel):
        return False
    return (
        isinstance(model, Sequential | Linear | Conv2d) or hasattr(model, "layers") or hasattr(model, "lower")
    )


def batches_of(calibration: Batches | None, dtype: Any = None) -> Iterator[Array]:
    """The calibration data batch by batch, of this dtype and without NaN."""
    if isinstance(calibration, np.ndarray | Tensor):
        calibration = [calibration]
    for batch in () if calibration is None else calibration:
        batch = batch[0] if isinstance(batch, tuple) else batch
        x = np.asarray(batch.data if isinstance(batch, Tensor) else batch, dtype)
        if x.dtype.kind == "f" and np.isnan(x).any():
            where = tuple(int(i) for i in np.unravel_index(np.isnan(x).argmax(), x.shape))
            raise ValueError(
                f"quantize: the calibration data hold NaN at {where}, which no integer stands for; "
                "clean the samples first"
            )
        if x.size:
            yield x


def _check(model: Any, weights: str, activations: str | None, calibration: Any) -> None:
    for name, value, known in (
        ("weights", weights, ("int8", "int4")),
        ("activations", activations, (None, "static", "dynamic")),
    ):
        if value not in known:
            raise ValueError(f"quantize: {name} must be one of {', '.join(map(repr, known))}, got {value!r}")
    if isinstance(model, InferenceModel) or any(isinstance(m, QuantizedLinear) for m in _modules(model)):
        raise ValueError(
            "quantize: this model is quantized or optimized already; give the trained float32 model, "
            "which it was made of"
        )
    if any(hasattr(m, "input_rounding") for m in _modules(model)):
        raise ValueError("quantize: this model was prepared by prepare_qat; convert(model) makes it integers")
    if not isinstance(model, Module):
        raise TypeError(f"quantize: model must be a Module, got {type(model).__name__}")
    if weights == "int4" and activations is not None:
        raise ValueError(
            f'quantize: weights="int4" keeps activations in float32, so activations={activations!r} '
            'has no meaning; leave it out, or take weights="int8"'
        )
    if activations == "static" and calibration is None:
        raise ValueError(
            'quantize: activations="static" needs calibration data, such as train_images[:256]; '
            'or take activations="dynamic"'
        )


def _modules(model: Any) -> Iterable[Module]:
    return model.modules() if isinstance(model, Module) else ()


@contextmanager
def calibrating(model: Any) -> Iterator[None]:
    """Errors of kernels on calibration data, with the reason in front."""
    try:
        yield
    except ValueError as error:
        if str(error).startswith("quant"):
            raise
        raise ValueError(
            f"quantize: the calibration data do not fit this {type(model).__name__}; they need the shape of "
            f"its inputs, without labels: {error}"
        ) from error


def _dynamic(stage: Stage, pack: Any) -> Stage:
    """The stage with INT8 weights, float32 in and out."""
    if isinstance(stage, Convolution):
        return ConvolutionDynamic(pack(stage), stage.bias, stage.stride, stage.padding, stage.activation)
    if isinstance(stage, Dense):
        return DenseDynamic(pack(stage), stage.bias, stage.activation)
    return stage


def _with_linears(
    model: Module,
    weights: str,
    group_size: int,
    observer: type[MinMaxObserver] | None = None,
    calibration: Batches | None = None,
) -> Module:
    """A copy in eval mode with every Linear quantized; with an observer their inputs' scales are static."""
    model = copy_model("quantize", model).eval()
    observers = _observe_inputs(model, observer, calibration) if observer else {}

    def quantized(module: Module) -> QuantizedLinear | None:
        if not isinstance(module, Linear):
            return None
        layer = QuantizedLinear(module, weights, group_size)
        if module in observers:
            layer.use_input_scale(observers[module].scale())
        return layer

    if not replace_modules(model, quantized):
        raise TypeError(
            f"quantize: {type(model).__name__} has no Linear layer inside. A chain of layers belongs in a "
            "Sequential or in the model's `layers`, so that convolutions are found, too"
        )
    return model


@no_grad()
def _observe_inputs(
    model: Module, observer: type[MinMaxObserver], calibration: Batches | None
) -> dict[Linear, MinMaxObserver]:
    """What each Linear of the model is given when it runs on the calibration data."""
    observers = {module: observer() for module in model.modules() if isinstance(module, Linear)}

    def see(layer: Any, inputs: tuple) -> None:
        observers[layer].observe(inputs[0].data)

    hooks = [layer.register_forward_pre_hook(see) for layer in observers]
    with calibrating(model):
        for batch in batches_of(calibration):
            model(from_numpy(batch))
    for hook in hooks:
        hook.remove()
    return observers
