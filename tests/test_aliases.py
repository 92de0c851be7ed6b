"""Every dotted path of earlier releases leads to the one module that has its contents."""

import importlib
import importlib.util
import subprocess
import sys

import pytest

from tinytorch import _aliases

_aliases.install()


@pytest.mark.parametrize("old", sorted(_aliases.MODULES))
def test_old_path_is_the_new_module(old):
    new = _aliases.MODULES[old]
    if importlib.util.find_spec(new) is None:
        with pytest.raises(ModuleNotFoundError, match=new.replace(".", r"\.")):
            importlib.import_module(old)
        return
    module = importlib.import_module(old)
    assert module is importlib.import_module(new)
    assert module.__name__ == new and module.__spec__.name == new


@pytest.mark.parametrize("old", sorted(_aliases.FOLDERS))
def test_old_folders_import(old):
    assert importlib.import_module(old).__name__ == old


@pytest.mark.parametrize("old", sorted(_aliases.RENAMED))
def test_renamed_classes_are_the_same_class(old):
    if importlib.util.find_spec(_aliases.MODULES[old]) is None:
        pytest.skip(f"{_aliases.MODULES[old]} is not there yet")
    module = importlib.import_module(old)
    for old_name, place in _aliases.RENAMED[old].items():
        home, _, name = place.rpartition(".")
        assert getattr(module, old_name) is getattr(importlib.import_module(f"tinytorch.{home}"), name)


def test_isinstance_holds_across_paths():
    from tinytorch.core.tokenization import CharTokenizer as old
    from tinytorch.text.tokenization import Tokenizer

    from tinytorch.tokenization import CharTokenizer as new

    assert isinstance(new(), Tokenizer) and old is new


def test_missing_target_names_its_new_home(monkeypatch):
    monkeypatch.setitem(_aliases.MODULES, "tinytorch.core.telepathy", "tinytorch.telepathy")
    with pytest.raises(ModuleNotFoundError, match=r"is tinytorch\.telepathy now") as caught:
        importlib.import_module("tinytorch.core.telepathy")
    assert caught.value.name == "tinytorch.core.telepathy"


def test_unknown_paths_stay_unknown():
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("tinytorch.core.nonsense")


def test_installing_twice_installs_once():
    _aliases.install()
    assert sum(isinstance(finder, _aliases.AliasFinder) for finder in sys.meta_path) == 1


def test_nothing_is_imported_before_it_is_asked_for():
    code = (
        "import sys, tinytorch._aliases as aliases; aliases.install(); before = set(sys.modules)\n"
        "import tinytorch.core.tokenization\n"
        "new = {name for name in set(sys.modules) - before if name.startswith('tinytorch')}\n"
        "assert 'tinytorch.core.spatial' not in new and 'tinytorch.core.losses' not in new, new"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
