"""The compiler's own account of each loop: vectorised or not, and why, in plain words."""

from __future__ import annotations

import re
from dataclasses import dataclass

# GCC's words, and Clang's.
VECTORIZED = re.compile(
    r"loop vectorized using (\d+) byte vectors|vectorized loop \(vectorization width: (\d+)"
)
IN_ORDER = "in-order (fold-left) reduction"
LOOP = re.compile(r"\b(?:for|while)\s*\(")

# The compiler's words (GCC's, then Clang's), and what they mean. The first that is found counts.
REASONS = (
    (r"__builtin_mem", "the compiler made a call of memset or memcpy of it, which is as fast"),
    (r"reorder floating-point",
     "it adds floats into one sum, and floats may not be added in another order unless -ffast-math, or "
     "several sums in your code, allow it"),
    (r"clobbers memory|call instruction cannot be vectorized", "it calls a function for each element"),
    (r"number of iterations cannot be computed|could not determine number of loop iterations",
     "how often it runs is not known before it starts"),
    (r"aliasing|cannot identify array bounds|unsafe dependent memory|bad data dependence",
     "the arrays might overlap, or an element is read at an address that depends on data (a gather); "
     "restrict on the pointers promises that arrays do not overlap"),
    (r"no vectype", "it works on vectors already, or on values of which no vector is made"),
    (r"used outside the loop|unsupported use in stmt|dependence",
     "each step needs the result of the step before"),
    (r"complicated access pattern|strided|gap|access function",
     "neighbouring steps touch elements that are not neighbours in memory"),
    (r"control flow", "there is a branch in it"),
    (r"cost|not profitable|not beneficial", "it would not pay, by the compiler's estimate"),
)  # fmt: skip


@dataclass(frozen=True)
class Loop:
    """What the compiler did with a loop.

    Attributes
    ----------
    line : int
        Of the cell, from 1.
    text : str
        That line.
    vectorized : bool
    at_once : str
        How wide its vectors are: "32 bytes" in GCC's words, "8 elements" in Clang's; "" when not vectorised.
    in_order : bool
        Whether a float sum is still added one element after the other.
    reason : str
        Why it is not vectorised, in plain words; "" when it is, or when the compiler does not say.
    said : str
        The compiler's own words.
    """

    line: int
    text: str
    vectorized: bool
    at_once: str
    in_order: bool
    reason: str
    said: str

    def __str__(self) -> str:
        return f"line {self.line}  {self.text}\n  {self._sentence()}"

    def _sentence(self) -> str:
        if self.vectorized and self.in_order:
            return (
                f"vectorised, {self.at_once} at once, but the sum is still added in order, one "
                "float after the other, which gains little: -ffast-math, or several sums in your code, help"
            )
        if self.vectorized:
            return f"vectorised: {self.at_once} at once"
        return f"not vectorised: {self.reason}" if self.reason else f'not vectorised ("{self.said}")'


def loops(remarks: str, source: str) -> list[Loop]:
    """What a compiler's remarks say about the innermost loops of a cell.

    Parameters
    ----------
    remarks : str
        Of ``gcc -fopt-info-vec-all-internals``, or of ``clang -Rpass=loop-vectorize`` with its ``-missed``
        and ``-analysis``.
    source : str
    """
    spans = _innermost(source)
    said: dict[tuple[int, int], list[str]] = {span: [] for span in spans}
    for match in re.finditer(r"^cell\.c:(\d+):\d+: (\w+): (.*)$", remarks, re.MULTILINE):
        telling = match[2] in ("optimized", "missed", "remark") or IN_ORDER in match[3]
        for first, last in spans:
            if telling and first <= int(match[1]) <= last:
                said[first, last].append(match[3].strip())
    lines = source.splitlines()
    return [_loop(first, lines[first - 1].strip(), words) for (first, _), words in said.items() if words]


def _loop(line: int, text: str, words: list[str]) -> Loop:
    found = [m for m in map(VECTORIZED.search, words) if m]
    if found:
        widest = max(found, key=lambda m: int(m[1] or m[2]))
        at_once = f"{widest[1]} bytes" if widest[1] else f"{widest[2]} elements"
        return Loop(line, text, True, at_once, any(IN_ORDER in word for word in words), "", "")
    for pattern, reason in REASONS:
        for word in words:
            if re.search(pattern, word):
                return Loop(line, text, False, "", False, reason, word)
    return Loop(line, text, False, "", False, "", words[0])


def _innermost(source: str) -> list[tuple[int, int]]:
    """The first and last line of each loop that has no loop inside."""
    text = re.sub(r"//[^\n]*|/\*.*?\*/|\"[^\"\n]*\"", _blank, source, flags=re.DOTALL)
    spans = [(match.start(), _end_of_statement(text, match.start())) for match in LOOP.finditer(text)]
    inner = [(start, end) for start, end in spans if not any(start < other < end for other, _ in spans)]
    return [(text.count("\n", 0, start) + 1, text.count("\n", 0, end) + 1) for start, end in inner]


def _blank(match: re.Match[str]) -> str:
    return re.sub(r"[^\n]", " ", match[0])


def _end_of_statement(text: str, start: int) -> int:
    """Where a statement ends: at its semicolon or closing brace, past all that it contains."""
    depth = 0
    for place in range(start, len(text)):
        mark = text[place]
        if mark in "({[":
            depth += 1
        elif mark in ")}]":
            depth -= 1
        if depth <= 0 and mark in ";}":
            return place
    return len(text)
