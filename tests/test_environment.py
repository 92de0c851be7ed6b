"""What the machine is described by."""

import getpass
import platform

import pytest

from tinytorch import environment, kernels


def test_description_agrees_with_the_kernels():
    found = environment.describe()
    assert found["level"] == kernels.cpu_info()["level"]
    assert found["level"] in found["levels"]
    assert found["threads"] == kernels.get_num_threads()


def test_description_names_no_host_and_no_user():
    values = str(environment.describe())
    assert platform.node() not in values and f"'{getpass.getuser()}'" not in values


def test_missing_package_comes_with_its_cure(monkeypatch):
    monkeypatch.setattr(environment, "OPTIONAL", ("numpy", "no_such_package"))
    checks = {check.name: check for check in environment.check()}
    assert checks["numpy"].ok
    assert not checks["no_such_package"].ok
    assert checks["no_such_package"].cure == "pip install no_such_package"


@pytest.mark.parametrize(
    "system, dnf, part",
    [
        ("Darwin", False, "xcode-select"),
        ("Windows", False, "winget"),
        ("Linux", True, "dnf"),
        ("Linux", False, "apt"),
    ],
)
def test_install_command_fits_the_system(monkeypatch, system, dnf, part):
    monkeypatch.setattr(environment.platform, "system", lambda: system)
    monkeypatch.setattr(
        environment.shutil, "which", lambda name: "/usr/bin/dnf" if dnf and name == "dnf" else None
    )
    assert part in environment.install_command()


def test_compiler_is_found_or_none(monkeypatch):
    monkeypatch.setattr(environment.shutil, "which", lambda name: None)
    assert environment.compiler() is None
