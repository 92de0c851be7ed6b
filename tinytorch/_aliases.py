"""The dotted paths of earlier releases: one table and one import finder.

``import tinytorch.core.tensor`` gives the very module ``tinytorch.tensor``, so a class
exists once and `isinstance` holds whichever path it came by. Nothing is imported before
someone asks for an old path.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from types import ModuleType

# Folders of earlier releases that held nothing but the modules below.
_FOLDERS = "core text data perf optimization utils backends experimental nn.utils"
FOLDERS = frozenset(f"tinytorch.{name}" for name in _FOLDERS.split())

_MODULES = {
    "tensor": "core.tensor",
    "activations": "core.activations",
    "layers": "core.layers core.dense core.networks",
    "losses": "core.losses",
    "autograd": "core.autograd",
    "optimizers": "core.optimizers",
    "training": "core.training",
    "spatial": "core.spatial",
    "dataloader": "core.dataloader core.data data.loader",
    "tokenization": "core.tokenization text.tokenization",
    "embeddings": "core.embeddings text.embeddings",
    "attention": "core.attention",
    "transformers": "core.transformer core.transformers models.transformer",
    "profiling": "profiler profiling.profiler perf.profiling utils.profiler",
    "acceleration": "core.kernels perf.acceleration optimization.acceleration backends.acceleration",
    "quantization": "perf.quantization optimization.quantization",
    "pruning": "core.compression perf.compression optimization.compression nn.utils.prune",
    "caching": "perf.memoization generation.kv_cache experimental.kv_cache",
    "benchmarking": "bench benchmarking.benchmark capstone utils.benchmark core.benchmarking core.mlops",
    "environment": "core.setup",
}

# Old path -> the module that has its contents now.
MODULES = {
    f"tinytorch.{old}": f"tinytorch.{new}" for new, old_paths in _MODULES.items() for old in old_paths.split()
}

# Old path -> {name that was changed: where it is now}.
RENAMED = {
    "tinytorch.core.spatial": {"Conv2D": "spatial.Conv2d", "MaxPool2D": "spatial.MaxPool2d"},
    "tinytorch.core.autograd": {"Variable": "tensor.Tensor"},
    "tinytorch.core.training": {"MeanSquaredError": "losses.MSELoss"},
    "tinytorch.core.attention": {"SelfAttention": "attention.MultiHeadAttention"},
    "tinytorch.optimization.quantization": {"QuantizationComplete": "quantization.Quantizer"},
    "tinytorch.optimization.compression": {"CompressionComplete": "pruning.Compressor"},
}

# Modules that old paths lie below, for they were folders once.
_FORMER_FOLDERS = {old.rpartition(".")[0] for old in MODULES} - FOLDERS - {"tinytorch"}


class AliasFinder(importlib.abc.MetaPathFinder):
    """Finds the modules of the tables above."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return how to load an old path; None leaves the name to Python's own finders."""
        if fullname in MODULES:
            return importlib.machinery.ModuleSpec(fullname, _AliasLoader())
        if fullname in FOLDERS:
            return importlib.machinery.ModuleSpec(fullname, _FolderLoader(), is_package=True)
        if fullname in _FORMER_FOLDERS:
            spec = importlib.machinery.PathFinder.find_spec(fullname, path)
            if spec is not None and spec.submodule_search_locations is None:
                spec.submodule_search_locations = []  # else Python would not look below it
            return spec
        return None


class _AliasLoader(importlib.abc.Loader):
    """Loads an old path by handing out the module that replaced it."""

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        new_home = MODULES[spec.name]
        if importlib.util.find_spec(new_home) is None:
            raise ModuleNotFoundError(
                f"{spec.name} is {new_home} now, which this version of TinyTorch does not have yet.",
                name=spec.name,
            )
        module = importlib.import_module(new_home)
        self._own_spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        old_path = module.__spec__.name
        module.__spec__ = self._own_spec  # Python has just put the old path's in its place
        for old_name, place in RENAMED.get(old_path, {}).items():
            home, _, name = place.rpartition(".")
            setattr(module, old_name, getattr(importlib.import_module(f"tinytorch.{home}"), name))


class _FolderLoader(importlib.abc.Loader):
    """Makes an empty package, so that what lies below it can be imported."""

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        pass


def install() -> None:
    """Let Python import the old paths, from now on."""
    if not any(isinstance(finder, AliasFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, AliasFinder())
    for name in _FORMER_FOLDERS & sys.modules.keys():  # imported before: let Python look below them, too
        if not hasattr(sys.modules[name], "__path__"):
            sys.modules[name].__path__ = []
