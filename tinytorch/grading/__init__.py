"""Grading what a student handed in, without trusting it: collect → isolate → judge → write.

- `collect` reads a notebook, never runs it, and finds the cells that a student wrote.
- `isolate` runs them in a process of their own, with limits; `worker` is that process.
- `judge` runs the lab's checks here, against inputs it draws itself, on whatever the worker sends back.
- `write` keeps the report, after each check.

The worker sends values, never a verdict, so nothing that a submission prints, exits with, patches or leaves
to atexit can earn a point.
"""
