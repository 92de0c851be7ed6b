"""Static quantization: scales found once, from samples, so that values stay integers between layers.

Three steps: `observe` runs the samples through the float stages, `to_integers` replaces each stage by its
integer form, `fuse` joins what one kernel can do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

from tinytorch import kernels
from tinytorch.acceleration import (
    Convolution,
    Dense,
    Flattening,
    GlobalAverage,
    Pointwise,
    Pooling,
    Residual,
    Stage,
)

from .observers import MinMaxObserver
from .scales import Array, Scale
from .stages import (
    ConvolutionInt8,
    DenseInt8,
    Dequantize,
    GlobalAverageInt8,
    InFloat,
    Quantize,
    ResidualInt8,
    TableInt8,
    ToPlanes,
    pack_weight,
)

PackWeight = Callable[[Convolution | Dense], kernels.PackedInt8]


def quantize_stages(
    stages: Iterable[Stage],
    calibration: Iterable[Array],
    observer: type[MinMaxObserver],
    pack: PackWeight = pack_weight,
) -> list[Stage]:
    """Float stages as integer stages: float32 in, integers between, float32 out."""
    separate = list(split_gelu(stages))
    scales = observe(separate, calibration, observer)
    entrance = scales[INPUT]
    inner, _ = to_integers(separate, entrance, scales, pack, ends_in_float=True)
    return [Quantize(entrance), *fuse(inner)]


def split_gelu(stages: Iterable[Stage]) -> Iterator[Stage]:
    """GELU stands alone here: the integer kernels fuse ReLU only, and GELU becomes a table."""
    for stage in stages:
        if isinstance(stage, Residual):
            stage = replace(
                stage, main=tuple(split_gelu(stage.main)), shortcut=tuple(split_gelu(stage.shortcut))
            )
        if isinstance(stage, Convolution | Dense | Residual) and stage.activation == "gelu":
            yield replace(stage, activation=None)
            yield Pointwise("GELU", kernels.gelu)
        else:
            yield stage


# --- what the samples say -----------------------------------------------------------------------------------

INPUT = 0  # the key of the model's input among the scales; a stage's output has the stage's id


def observe(
    stages: list[Stage], calibration: Iterable[Array], observer: type[MinMaxObserver]
) -> dict[int, Scale]:
    """The scale of the input and of each stage's output, by the stage's id."""
    observers: dict[int, MinMaxObserver] = {}

    def see(key: int, x: Array) -> None:
        observers.setdefault(key, observer()).observe(x)

    def run(stages: Iterable[Stage], x: Array) -> Array:
        for stage in stages:
            if isinstance(stage, Residual):
                x = stage.join(run(stage.main, x), run(stage.shortcut, x))
            else:
                x = stage(x)
            see(id(stage), x)
        return x

    for x in calibration:
        see(INPUT, x)
        run(stages, x)
    if INPUT not in observers:
        raise ValueError("quantize: nothing was observed; calibrate with at least one sample")
    return {key: watcher.scale() for key, watcher in observers.items()}


# --- stage by stage -----------------------------------------------------------------------------------------


def to_integers(
    stages: Iterable[Stage],
    held: Scale,
    scales: Mapping[int, Scale],
    pack: PackWeight = pack_weight,
    *,
    ends_in_float: bool = False,
) -> tuple[list[Stage], Scale]:
    """The integer forms of stages, and what integers mean after the last; `held`: what they mean before."""
    stages = list(stages)
    result: list[Stage] = []
    for i, stage in enumerate(stages):
        ends = ends_in_float and i == len(stages) - 1
        # Moving or choosing among integers leaves their meaning as it is.
        output = held if _keeps_scale(stage) else scales[id(stage)]
        if isinstance(stage, Residual):
            result.append(_residual(stage, held, scales, pack))
            result += [Dequantize(output)] if ends else []
        else:
            result.append(quantize_stage(stage, held, None if ends else output, pack))
        held = output
    return result, held


def _keeps_scale(stage: Stage) -> bool:
    return isinstance(stage, Flattening) or (isinstance(stage, Pooling) and stage.kind == "max")


def _residual(stage: Residual, held: Scale, scales: Mapping[int, Scale], pack: PackWeight) -> ResidualInt8:
    main, main_scale = to_integers(stage.main, held, scales, pack)
    shortcut, shortcut_scale = to_integers(stage.shortcut, held, scales, pack)
    ways = tuple(main), tuple(shortcut)
    return ResidualInt8(*ways, main_scale, shortcut_scale, stage.activation, scales[id(stage)])


def quantize_stage(stage: Stage, input: Scale, output: Scale | None, pack: PackWeight = pack_weight) -> Stage:
    """The integer form of a float stage, for an input and an output of these scales (None: float32 out)."""
    if isinstance(stage, Convolution):
        window = stage.stride, stage.padding
        return ConvolutionInt8(pack(stage), stage.bias, *window, stage.activation, input, output)
    if isinstance(stage, Dense):
        return DenseInt8(pack(stage), stage.bias, stage.activation, input, output)
    if output is not None:
        if _keeps_scale(stage):
            return stage
        if isinstance(stage, GlobalAverage):
            return GlobalAverageInt8(input, output)
        if isinstance(stage, Pointwise) and stage.is_elementwise:
            return TableInt8.of(stage, input, output)
    return InFloat(stage, input, output)


# --- what one kernel can do ---------------------------------------------------------------------------------


def fuse(stages: list[Stage]) -> list[Stage]:
    """Max pooling joins the convolution before it; images stay NHWC where nothing needs planes."""
    return _channels_last(_joined_pooling(stages))


def _joined_pooling(stages: Iterable[Stage]) -> list[Stage]:
    joined: list[Stage] = []
    for stage in stages:
        last = joined[-1] if joined else None
        if isinstance(last, ConvolutionInt8) and isinstance(stage, Pooling) and last.joins(stage):
            joined[-1] = replace(last, max_pool=stage.kernel_size)
        else:
            joined.append(stage)
    return joined


def _channels_last(stages: list[Stage]) -> list[Stage]:
    """Between a convolution and what can read NHWC, images stay as the kernels make them, channels last."""
    result: list[Stage] = []
    layout, channels = "NCHW", 0  # of the image at this point
    for i, stage in enumerate(stages):
        following = stages[i + 1 :]
        if isinstance(stage, ConvolutionInt8):
            out = "NHWC" if _reads_channels_last(following) else "NCHW"
            result.append(replace(stage, input_layout=layout, output_layout=out))
            layout, channels = out, stage.weight.shape[0]
        elif layout == "NCHW":
            result.append(stage)
        elif isinstance(stage, ResidualInt8) and _has_only_convolutions(stage):
            result.append(_in_channels_last(stage))
            channels = next(s.weight.shape[0] for s in reversed(stage.main) if isinstance(s, ConvolutionInt8))
            if not _reads_channels_last(following):
                result.append(ToPlanes())
                layout = "NCHW"
        elif isinstance(stage, GlobalAverageInt8):
            result.append(replace(stage, input_layout=layout))
            layout = "NCHW"
        elif isinstance(stage, DenseInt8):
            result.append(stage.reading_channels_last(channels))
            layout = "NCHW"
        else:
            result.append(stage)  # a table, or flattening
    return result


def _reads_channels_last(stages: list[Stage]) -> bool:
    """Whether the first of these stages can read NHWC, or hands it on to one that can."""
    if not stages:
        return False
    if isinstance(stages[0], TableInt8):
        return _reads_channels_last(stages[1:])
    if isinstance(stages[0], Flattening):
        return len(stages) > 1 and isinstance(stages[1], DenseInt8)
    if isinstance(stages[0], ResidualInt8):
        return _has_only_convolutions(stages[0])
    return isinstance(stages[0], ConvolutionInt8 | GlobalAverageInt8)


def _has_only_convolutions(stage: ResidualInt8) -> bool:
    return bool(stage.main) and all(
        isinstance(inner, ConvolutionInt8 | TableInt8) for inner in (*stage.main, *stage.shortcut)
    )


def _in_channels_last(residual: ResidualInt8) -> ResidualInt8:
    def turned(stages: Iterable[Stage]) -> tuple[Stage, ...]:
        return tuple(
            replace(s, input_layout="NHWC", output_layout="NHWC") if isinstance(s, ConvolutionInt8) else s
            for s in stages
        )

    return replace(residual, main=turned(residual.main), shortcut=turned(residual.shortcut))
