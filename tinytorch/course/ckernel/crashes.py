"""Sentences about calls that did not return: what happened, to which element, and what usually causes it."""

from __future__ import annotations

import re
import signal

import numpy as np

from .operations import Arguments, Case, Operation
from .process import Limits
from .runner import GUARD, Trouble

SI_KERNEL = 0x80  # Linux: the CPU did not say which address, as for an aligned load that is not aligned
STACK_BYTES = 128 << 20  # below the stack nothing else lies so near
NULL_BYTES = 1 << 16


def sentence(trouble: Trouble, operation: Operation, case: Case, source: str, limits: Limits) -> str:
    """What happened in `case`, and what to do about it."""
    name = operation.name
    if trouble.kind == "missing":
        return _missing(name, trouble.text, source)
    where = f"{name} with {case.name}"
    call = operation.arguments(*case.operands)
    if trouble.kind == "timeout" or (trouble.kind == "exit" and trouble.values[0] == -signal.SIGXCPU):
        return (
            f"{where}: not done within {limits.seconds:g} s. Does each loop reach its end? "
            f"Look for a counter that is not counted, or one that is counted in another loop's place"
        )
    if trouble.kind == "forged":
        return f"{where}: something other than the result came back. A kernel writes to its output array only"
    if trouble.kind == "exit":
        return f"{where}: {_exit(trouble.values[0], limits)}"
    if trouble.kind == "outside":
        output = operation.parameters[operation.output].name
        element = trouble.values[0] // call[operation.output].itemsize
        return f"{where}: writes {_beyond(output, element, call[operation.output].size)}"
    if trouble.kind == "sanitizer":
        return f"{where}: {_sanitizer(trouble, operation, call, source, limits)}"
    return f"{where}: {_fault(trouble, operation, call, limits)}"


def _missing(name: str, linker: str, source: str) -> str:
    defined = re.findall(r"^[a-zA-Z_][\w \t*]*?\b(\w+)\s*\([^;{}]*\)\s*\{", source, re.MULTILINE)
    others = [other for other in defined if other != name]
    if linker:
        return f"{name}: the compiled cell cannot be loaded: {linker}"
    found = f"; it defines {', '.join(others)}" if others else ""
    return f"{name}: the cell has no function of that name{found}. The check calls {name}(), so name it so"


def _exit(code: int, limits: Limits) -> str:
    if code >= 0:
        return (
            f"the process ended with exit code {code} inside the call. A kernel returns; "
            "it does not call exit() or close files that are not its own"
        )
    if -code == signal.SIGKILL:
        return f"it was killed: more than {limits.seconds:g} s of CPU time, or out of memory"
    return f"it was ended by {_signal(-code)}"


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _fault(trouble: Trouble, operation: Operation, call: Arguments, limits: Limits) -> str:
    number, code, address, write = trouble.values
    if number == signal.SIGFPE:
        return "it divides a whole number by zero. Sizes may be 0: is there a division or a % by one?"
    if number == signal.SIGILL:
        return "it met an instruction that this CPU lacks, or a place that the compiler takes for unreachable"
    if number == signal.SIGABRT:
        return (
            "it was aborted: by assert or abort(), or because memory from malloc was written beyond its end. "
            "--asan says the line"
        )
    verb = {1: "writes", 0: "reads"}.get(write, "reads or writes")
    return f"{_place(address, code, verb, trouble, operation, call, limits)}. --asan says the line"


def _place(
    address: int,
    code: int,
    verb: str,
    trouble: Trouble,
    operation: Operation,
    call: Arguments,
    limits: Limits,
) -> str:
    """What an address that may not be touched means."""
    touched = _element(address, trouble.addresses, operation, call)
    if touched:
        return f"{verb} {touched}"
    if code == SI_KERNEL and address == 0:
        return (
            "an aligned vector load or store met an address that is not a multiple of the vector's size. "
            "Arrays may start anywhere: use _mm256_loadu_ps and _mm256_storeu_ps"
        )
    if 0 <= address < NULL_BYTES:
        return (
            "it uses a null pointer: a pointer that was never set, or what malloc gave when there was no "
            f"more memory (a kernel may have {limits.memory / 2**30:.3g} GiB)"
        )
    stack = trouble.addresses[-1] if trouble.addresses else 0
    if stack - STACK_BYTES <= address < stack + NULL_BYTES:
        return (
            "the stack overflowed: a local array is too large (malloc and free it), or the function calls "
            "itself without end"
        )
    return (
        "it touches an address far from all arrays: an index that is far too large or overflowed, or a "
        "pointer that was never set"
    )


def _element(address: int, addresses: tuple[int, ...], operation: Operation, call: Arguments) -> str:
    """The array and the element that an address means, and what is wrong with it; "" for none."""
    arrays = [(p, x) for p, x in zip(operation.parameters, call, strict=True) if isinstance(x, np.ndarray)]
    if not addresses:
        return ""
    # Of two arrays it is the nearer one that was meant.
    distance, parameter, array, start = min(
        (
            (max(start - address, address - (start + array.nbytes) + 1, 0), parameter, array, start)
            for (parameter, array), start in zip(arrays, addresses, strict=False)
        ),
        key=lambda found: found[0],
    )
    if distance > GUARD:
        return ""
    element = (address - start) // array.itemsize
    if distance == 0:
        return f"{parameter.name}[{element}], and {parameter.name} is an input: it is const"
    return _beyond(parameter.name, element, array.size)


def _beyond(name: str, element: int, size: int) -> str:
    if size == 0:
        return f"{name}[{element}], and {name} has no elements"
    has = (
        f"{name} has {size} elements, {name}[0] to {name}[{size - 1}]"
        if size > 1
        else f"{name} has one element"
    )
    far = element - size + 1 if element >= size else -element
    side = "beyond its end" if element >= size else "before its start"
    return f"{name}[{element}], and {has}: {far} {side}"


def _sanitizer(trouble: Trouble, operation: Operation, call: Arguments, source: str, limits: Limits) -> str:
    text = trouble.text
    kind = re.search(r"AddressSanitizer: ([\w-]+)", text)
    access = re.search(r"(READ|WRITE) of size (\d+)", text)
    address = re.search(r"on (?:unknown )?address (0x[0-9a-f]+)", text)
    line = re.search(r"cell\.c:(\d+)", text)
    local = re.search(r"'(\w+)'[^\n]*<== Memory access", text)
    verb = {"READ": "reads", "WRITE": "writes"}.get(access[1] if access else "", "touches")
    if local:
        what = f"{verb} beyond the ends of {local[1]}"
    elif address:
        what = _place(int(address[1], 16), 0, verb, trouble, operation, call, limits)
    else:
        what = f"{verb} memory that is not its own ({kind[1] if kind else 'unknown'})"
    if line is None or int(line[1]) > len(source.splitlines()):
        return what
    text = source.splitlines()[int(line[1]) - 1]
    return f"{what}. It is line {line[1]} of the cell:\n    {line[1]:>3} | {text}"
