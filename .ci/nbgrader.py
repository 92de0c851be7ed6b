"""Take the labs through nbgrader: generate_assignment, autograde, validate.

Checks that what nbgrader hands out is what `tinytorch course build` writes, that it gives a solved lab all
points and an untouched one none, and that `nbgrader validate` tells the two apart. Autograding runs whole
notebooks, so that is done with the labs named on the command line; without any, with the first.
"""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tinytorch.course import building, open_lab

ROOT = Path(__file__).parents[1]
COURSE = ROOT / "build" / "nbgrader"
SOLVED, STUB = "solved", "untouched"  # two students


def nbgrader(*arguments: str) -> str:
    """Run a command of nbgrader in the course; returns what it printed."""
    command = [sys.executable, "-m", "nbgrader", *arguments]
    done = subprocess.run(command, cwd=COURSE, text=True, capture_output=True)
    if done.returncode:
        sys.exit(f"nbgrader {' '.join(arguments)} failed:\n{done.stdout}\n{done.stderr}")
    return done.stdout + done.stderr


def sources_of(path: Path) -> list[str]:
    """The texts of a notebook's cells."""
    return ["".join(cell["source"]) for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]]


def hand_in(student: str, name: str, notebook: Path) -> None:
    target = COURSE / "submitted" / student / name / f"{name}.ipynb"
    target.parent.mkdir(parents=True)
    shutil.copy(notebook, target)


def main(numbers: list[int]) -> None:
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # nbgrader calls alembic
    os.environ |= {"TINYTORCH_QUICK": "1", "PYTHONPATH": str(ROOT), "PATH": programs}
    shutil.rmtree(COURSE, ignore_errors=True)
    COURSE.mkdir(parents=True)
    (COURSE / "nbgrader_config.py").write_text(
        "c = get_config()\nc.CourseDirectory.course_id = 'tinytorch'\nc.ExecutePreprocessor.timeout = 300\n"
    )
    labs = {
        number: source
        for source in building.sources(ROOT / "notebooks")
        if (number := building.lab_number(source)) is not None
    }
    for source in labs.values():
        name = source.stem
        solved = COURSE / "source" / name / f"{name}.ipynb"
        solved.parent.mkdir(parents=True)
        solved.write_text(building.dump(building.instructor_version(source)), encoding="utf-8")
        nbgrader("generate_assignment", name, "--create", "--force")
        released = COURSE / "release" / name / f"{name}.ipynb"
        if sources_of(released) != sources_of(source.with_suffix(".ipynb")):
            sys.exit(f"{name}: nbgrader hands out another notebook than `tinytorch course build` writes")
        if "Success" not in nbgrader("validate", str(solved)):
            sys.exit(f"{name}: nbgrader validate does not accept the solution")
        if "FAILED" not in nbgrader("validate", str(released)).upper():
            sys.exit(f"{name}: nbgrader validate accepts the untouched lab")
        print(f"{name}: handed out as built, and validated")
    for number in numbers or list(labs)[:1]:
        name = labs[number].stem
        hand_in(SOLVED, name, COURSE / "source" / name / f"{name}.ipynb")
        hand_in(STUB, name, COURSE / "release" / name / f"{name}.ipynb")
        nbgrader("autograde", name)
    nbgrader("export", "--to", "grades.csv")
    with (COURSE / "grades.csv").open() as file:
        for row in csv.DictReader(file):
            if not row["score"] or row["assignment"] not in {labs[n].stem for n in numbers or list(labs)[:1]}:
                continue
            wanted = open_lab(int(row["assignment"][:2])).points if row["student_id"] == SOLVED else 0
            print(f"{row['assignment']}, {row['student_id']}: {row['score']} points of {row['max_score']}")
            if float(row["score"]) != wanted:
                sys.exit(f"{wanted} were expected")


if __name__ == "__main__":
    main([int(argument) for argument in sys.argv[1:]])
