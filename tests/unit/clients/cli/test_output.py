"""What `depa run watch` and `depa run deploy` show of a run, and other bars."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from clients.cli.output import Output
from clients.cli.run import Lines, line_of
from policies.wire.run import Progress


def progress(**changes: Any) -> Progress:
    value = {
        "phase": "training",
        "step": 20,
        "steps": 80,
        "microEpsilon": 1_500_000,
        "microEpsilonLimit": 3_000_000,
        "seconds": 12.0,
        "etaSeconds": 36.0,
    }
    return Progress.from_json(value | changes)


def output(*, terminal: bool, as_json: bool = False) -> tuple[Output, io.StringIO]:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=terminal, width=100, color_system=None)
    return Output(as_json=as_json, _stderr=console), stream


def test_a_terminal_shows_one_bar_for_steps_and_one_for_the_budget() -> None:
    out, stream = output(terminal=True)
    with out.bars() as bars:
        assert bars is not None
        bars.show(progress())
        bars._progress.refresh()
    shown = stream.getvalue()
    assert "20/80  eta 36 s" in shown
    assert "1.50 of 3.00" in shown
    assert "epsilon" in shown


def test_bars_say_that_training_was_resumed() -> None:
    out, stream = output(terminal=True)
    with out.bars() as bars:
        assert bars is not None
        bars.show(progress(restarts=2))
        bars._progress.refresh()
    assert "20/80  eta 36 s  restarts 2" in stream.getvalue()


def test_without_a_terminal_there_are_lines() -> None:
    out, stream = output(terminal=False)
    with out.bars() as bars:
        assert bars is None
    lines = Lines(out)
    for step in range(1, 6):
        lines.show(progress(step=step, seconds=float(step)))
    # The first of a phase, then one every five seconds.
    assert stream.getvalue().splitlines() == [line_of(progress(step=1, seconds=1.0))]
    assert line_of(progress()) == "step 20/80  ε 1.50 of 3.00  12.0 s  eta 36 s"
    assert line_of(progress(restarts=1)).endswith("eta 36 s  restarts 1")
    assert line_of(progress(phase="sealing")) == "sealing      12.0 s"


def test_a_bar_tells_how_much_is_done_on_a_terminal() -> None:
    out, stream = output(terminal=True)
    with out.bar("brain7 (1/2)") as show:
        show(3, 8)
    assert "brain7 (1/2)" in stream.getvalue()
    assert "3/8" in stream.getvalue()


def test_without_a_terminal_or_for_programs_there_is_no_bar() -> None:
    for out, stream in (output(terminal=False), output(terminal=True, as_json=True)):
        with out.bar("brain7 (1/2)") as show:
            show(3, 8)
        assert stream.getvalue() == ""
