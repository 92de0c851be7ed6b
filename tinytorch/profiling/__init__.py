"""Module 15: profiling. Where a model's time and memory go, and how close it comes to what the machine can
do.

Everything is measured on the model as it runs: layers are watched while it computes, never guessed from their
names. `profile_layers` tells where a forward pass spends its time, `profile_step` a training step, `trace`
draws both on a timeline, `roofline` says what the machine would allow, and `what_if` what a faster layer is
worth.
"""

from tinytorch.profiling.amdahls_law import WhatIf, amdahl, check_what_if, what_if
from tinytorch.profiling.layers import LayerRow, LayerTable, profile_layers
from tinytorch.profiling.profiles import Profiler, analyze_weight_distribution, quick_profile
from tinytorch.profiling.rooflines import Roofline, ceilings, roofline
from tinytorch.profiling.steps import LayerTime, StepProfile, profile_step
from tinytorch.profiling.timeline import Timeline, trace
from tinytorch.profiling.tools import (
    FLOPCounter,
    MemoryProfiler,
    ProfilerContext,
    SimpleProfiler,
    Timer,
    profile_function,
)

__all__ = [
    "FLOPCounter",
    "LayerRow",
    "LayerTable",
    "LayerTime",
    "MemoryProfiler",
    "Profiler",
    "ProfilerContext",
    "Roofline",
    "SimpleProfiler",
    "StepProfile",
    "Timeline",
    "Timer",
    "WhatIf",
    "amdahl",
    "analyze_weight_distribution",
    "ceilings",
    "check_what_if",
    "profile_function",
    "profile_layers",
    "profile_step",
    "quick_profile",
    "roofline",
    "trace",
    "what_if",
]
