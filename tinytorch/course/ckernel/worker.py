"""The process of a race: ``python -m tinytorch.course.ckernel.worker FD REQUEST``.

It loads the student's library, races, and sends one line of JSON with every sample, then the bytes of the
last result. The process that started it compares that result, and ends this one when it takes too long.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sys
from typing import Any

from tinytorch import kernels, timing

from . import loading
from .operations import OPERATIONS


def main(descriptor: str, request: str) -> None:
    """Race what the request (JSON) describes."""
    told = json.loads(request)
    operation = OPERATIONS[told["operation"]]
    with contextlib.suppress(ValueError, OSError):  # macOS has no such limit
        resource.setrlimit(resource.RLIMIT_AS, (told["memory"], told["memory"]))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    kernels.set_num_threads(told["threads"])
    operands = operation.race_operands(**told["sizes"])
    function = loading.load(told["library"], operation)
    arguments = operation.arguments(*operands)
    output, values = arguments[operation.output], loading.addressed(arguments)
    contenders: dict[str, Any] = {"yours": lambda: function(*values)}
    contenders |= {opponent.name: opponent.call for opponent in operation.opponents(*operands)}
    noise, _ = timing.noise_floor(contenders["TinyTorch"], seconds=told["seconds"] / 4)
    races = timing.race_many(contenders, seconds=told["seconds"], noise=noise)
    report = {"seconds": races.seconds, "repeats": races.repeats, "noise": noise}
    with os.fdopen(int(descriptor), "wb") as out:
        out.write(json.dumps(report).encode() + b"\n" + output.tobytes())


if __name__ == "__main__":
    main(*sys.argv[1:])
