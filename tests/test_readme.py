"""The README's code runs as it stands, from the first block to the last."""

import re
from pathlib import Path

README = Path(__file__).parent.parent / "README.md"


def test_code_runs(capsys):
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    names: dict = {}
    for block in blocks:
        exec(compile(block, str(README), "exec"), names)
    printed = capsys.readouterr().out
    assert "[2. 4. 6.]" in printed
    assert (names["guesses"] == names["truth"]).mean() > 0.9
    assert (names["small"].predict(names["held_out"]) == names["truth"]).mean() > 0.9
