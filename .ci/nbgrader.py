"""Take the labs through nbgrader: generate_assignment, validate, autograde.

Checks that what nbgrader hands out is what `tinytorch course build` writes, and that a solved lab gets all of
its points. Autograding runs whole notebooks, so that an untouched lab gets none, and that `nbgrader validate`
tells the two apart, is seen with one lab.
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


def hand_in(student: str, notebook: Path) -> None:
    target = COURSE / "submitted" / student / notebook.stem / notebook.name
    target.parent.mkdir(parents=True)
    shutil.copy(notebook, target)


def hand_out(source: Path) -> tuple[Path, Path]:
    """The solved notebook, and what nbgrader makes of it for students."""
    solved = COURSE / "source" / source.stem / f"{source.stem}.ipynb"
    solved.parent.mkdir(parents=True)
    solved.write_text(building.dump(building.instructor_version(source)), encoding="utf-8")
    nbgrader("generate_assignment", source.stem, "--create", "--force")
    released = COURSE / "release" / source.stem / f"{source.stem}.ipynb"
    if sources_of(released) != sources_of(source.with_suffix(".ipynb")):
        sys.exit(f"{source.stem}: nbgrader hands out another notebook than `tinytorch course build` writes")
    return solved, released


def validate(solved: Path, released: Path) -> None:
    if "Success" not in nbgrader("validate", str(solved)):
        sys.exit(f"{solved.stem}: nbgrader validate does not accept the solution")
    if "FAILED" not in nbgrader("validate", str(released)).upper():
        sys.exit(f"{released.stem}: nbgrader validate accepts the untouched lab")


def grades() -> list[dict[str, str]]:
    nbgrader("export", "--to", "grades.csv")
    with (COURSE / "grades.csv").open() as file:
        return [row for row in csv.DictReader(file) if row["score"]]


def main() -> None:
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # nbgrader calls alembic
    os.environ |= {"TINYTORCH_QUICK": "1", "PYTHONPATH": str(ROOT), "PATH": programs}
    shutil.rmtree(COURSE, ignore_errors=True)
    COURSE.mkdir(parents=True)
    (COURSE / "nbgrader_config.py").write_text(
        "c = get_config()\nc.CourseDirectory.course_id = 'tinytorch'\nc.ExecutePreprocessor.timeout = 300\n"
    )
    labs = [
        source for source in building.sources(ROOT / "notebooks") if building.lab_number(source) is not None
    ]
    for number, source in enumerate(labs):
        solved, released = hand_out(source)
        hand_in(SOLVED, solved)
        if number == 0:
            validate(solved, released)
            hand_in(STUB, released)
        nbgrader("autograde", source.stem)
    found = {(row["assignment"], row["student_id"]): row for row in grades()}
    for student, sources in ((SOLVED, labs), (STUB, labs[:1])):
        for source in sources:
            row = found[source.stem, student]
            wanted = open_lab(int(source.stem[:2])).points if student == SOLVED else 0
            print(f"{source.stem}, {student}: {row['score']} points of {row['max_score']}")
            if float(row["score"]) != wanted:
                sys.exit(f"{wanted} were expected")


if __name__ == "__main__":
    main()
