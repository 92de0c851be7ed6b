"""Every lab: stubs fail, solutions pass, and each wrong solution that students write fails a check."""

import copy
import importlib
import re

import pytest

from tinytorch.course import building, open_lab

from . import labs

pytest.importorskip("jupytext")
MUTANTS = {number: importlib.import_module(f"course.mutants.lab{number:02d}").MUTANTS for number in labs.LABS}


def test_every_lab_has_a_notebook():
    from tinytorch.course import checks

    assert checks.numbers() == sorted(labs.LABS)


def test_notebooks_are_what_their_sources_say():
    assert building.stale(labs.NOTEBOOKS) == [], "run `tinytorch course build`"


@pytest.mark.parametrize("number", labs.LABS)
def test_no_stub_passes(number, tmp_path):
    report = labs.judge(labs.save(building.student_version(labs.LABS[number]), tmp_path), number)
    assert report.complete and report.points == 0
    assert {check.status for check in report.checks} == {"failed"}
    assert all(check.hint and "not built" in check.problem for check in report.checks)


@pytest.mark.parametrize("number", labs.LABS)
def test_solution_passes_every_check(number, tmp_path):
    report = labs.judge(labs.save(labs.solution(number), tmp_path), number)
    assert [check.problem for check in report.checks if check.status != "passed"] == []
    assert report.points == report.possible == open_lab(number).points > 0


@pytest.mark.parametrize("number", labs.LABS)
def test_every_wrong_solution_is_caught(number, capsys):
    solution = labs.solution(number)
    assert labs.caught_by(solution, number) == []
    mutants = MUTANTS[number]
    assert len(mutants) >= 8 and len({mutant.mistake for mutant in mutants}) == len(mutants)
    survivors = []
    for mutant in mutants:
        notebook = copy.deepcopy(solution)
        wrong = labs.cell(notebook, mutant.build)
        assert wrong["source"].count(mutant.old) == 1, mutant
        wrong["source"] = wrong["source"].replace(mutant.old, mutant.new)
        if not labs.caught_by(notebook, number):
            survivors.append(mutant.mistake)
    with capsys.disabled():
        print(f" lab {number}: {len(mutants) - len(survivors)} of {len(mutants)} wrong solutions caught")
    assert survivors == []


@pytest.mark.parametrize("number", labs.LABS)
def test_each_build_cell_has_a_mutant(number):
    builds = {
        about["grade_id"]
        for cell in labs.solution(number)["cells"]
        if (about := cell["metadata"].get("nbgrader")) and about["solution"] and not about["grade"]
        if not about["grade_id"].startswith("predict_")
    }
    assert builds == {mutant.build for mutant in MUTANTS[number]}


@pytest.mark.parametrize("number", labs.LABS)
def test_readme_says_how_many_are_caught(number):
    count = len(MUTANTS[number])
    readme = (labs.NOTEBOOKS.parent / "README.md").read_text(encoding="utf-8")
    assert re.search(rf"^\| {number} .* \| {count} of {count} \|$", readme, re.MULTILINE)
