"""Everything that `depa` prints, and the only place that knows Rich.

Results go to standard output, everything else to standard error. With `--json` a command prints
one object to standard output and, when it fails, one problem object to standard error. Nothing
depends on colour.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from clients.api.errors import ServiceError
from clients.cli.errors import DeniedWithRemedies, Refused
from ledger.errors import LedgerError
from policies.errors import DepaError, DocumentError
from policies.wire.decision import Denied
from policies.wire.run import Progress as RunProgress

Failure = DepaError | LedgerError
_PIPE_WIDTH = 4000


@dataclass(frozen=True)
class Listing:
    """A text in a language, which a terminal shows in colours."""

    text: str
    language: Literal["rego", "diff"]
    first_line: int | None = None
    """Number of the first line, where lines are to be numbered."""


@dataclass(frozen=True)
class Answer:
    """What a command found: `value` for programs; text, a table and listings for people."""

    value: Mapping[str, Any]
    text: str = ""
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    listings: Sequence[Listing] = ()


@dataclass
class Bars:
    """Two bars: steps done, and privacy budget spent."""

    _progress: Progress
    _steps: TaskID
    _budget: TaskID

    def show(self, progress: RunProgress) -> None:
        """Show where a run stands; the limits are 0 before they are known."""
        steps, limit = progress.steps, progress.micro_epsilon_limit
        eta = "" if progress.eta_seconds is None else f"  eta {progress.eta_seconds:.0f} s"
        again = f"  restarts {progress.restarts}" if progress.restarts else ""
        self._progress.update(
            self._steps,
            description=progress.phase,
            completed=progress.step,
            total=steps or None,
            note=f"{progress.step}/{steps}{eta}{again}",
        )
        self._progress.update(
            self._budget,
            completed=progress.micro_epsilon,
            total=limit or None,
            note=f"{progress.micro_epsilon / 1e6:.2f} of {limit / 1e6:.2f}",
        )


def _stdout_console() -> Console:
    # Programs that read a table want each row on one line.
    width = None if sys.stdout.isatty() else _PIPE_WIDTH
    return Console(highlight=False, soft_wrap=True, width=width)


@dataclass
class Output:
    """The two streams of one command."""

    as_json: bool = False
    quiet: bool = False
    _stdout: Console = field(default_factory=_stdout_console)
    _stderr: Console = field(
        default_factory=lambda: Console(stderr=True, highlight=False, soft_wrap=True)
    )

    def answer(self, answer: Answer) -> None:
        """Print a command's result to standard output."""
        if self.as_json:
            self._stdout.file.write(json.dumps(answer.value, ensure_ascii=False) + "\n")
            self._stdout.file.flush()
            return
        if answer.text:
            self._stdout.print(Text(answer.text))
        if answer.columns:
            table = Table(box=None, pad_edge=False, header_style="bold")
            for name in answer.columns:
                table.add_column(name, overflow="fold")
            for row in answer.rows:
                table.add_row(*(Text(cell) for cell in row))
            self._stdout.print(table)
        for listing in answer.listings:
            self._list(listing)

    def _list(self, listing: Listing) -> None:
        if not self._stdout.is_terminal:
            self._stdout.file.write(listing.text)
            return
        numbered = listing.first_line is not None
        self._stdout.print(
            Syntax(
                listing.text,
                listing.language,
                theme="ansi_dark",
                background_color="default",
                line_numbers=numbered,
                start_line=listing.first_line or 1,
                tab_size=4,
            )
        )

    def line(self, value: Mapping[str, Any], text: str) -> None:
        """Print one line of a stream of results: JSON with `--json`, else `text`."""
        self._stdout.file.write((json.dumps(value) if self.as_json else text) + "\n")
        self._stdout.file.flush()

    def note(self, text: str, *, style: str = "") -> None:
        """Tell the person at the terminal something that is not the result."""
        if not self.quiet:
            self._stderr.print(Text(text, style=style))

    def failure(self, error: Failure, *, command: str) -> None:
        """Print an error with its cause and what to do about it."""
        if self.as_json:
            self._stderr.file.write(json.dumps(_problem(error, command), ensure_ascii=False) + "\n")
            return
        self._stderr.print(Text(f"error: {_title(error, command)}", style="bold red"))
        for cause in _causes(error):
            self._stderr.print(Text(f"because: {cause}"))
        if error.hint:
            self._stderr.print(Text(f"hint: {error.hint}", style="cyan"))

    @contextmanager
    def bars(self) -> Iterator[Bars | None]:
        """Show training bars while the block runs; None when nobody watches a terminal."""
        if self.as_json or self.quiet or not self._stderr.is_terminal:
            yield None
            return
        label, note = TextColumn("{task.description:8}"), TextColumn("{task.fields[note]}")
        with Progress(label, BarColumn(), note, console=self._stderr, transient=True) as progress:
            steps = progress.add_task("steps", note="")
            budget = progress.add_task("epsilon", note="")
            yield Bars(progress, steps, budget)

    @contextmanager
    def bar(self, label: str) -> Iterator[Callable[[int, int], None]]:
        """Show one bar while the block runs, told how much is done and how much there is."""
        if self.as_json or self.quiet or not self._stderr.is_terminal:
            yield lambda _done, _all: None
            return
        text, note = TextColumn("{task.description}"), TextColumn("{task.fields[note]}")
        with Progress(text, BarColumn(), note, console=self._stderr, transient=True) as progress:
            task = progress.add_task(label, total=None, note="")

            def show(done: int, every: int) -> None:
                progress.update(task, completed=done, total=every, note=f"{done}/{every}")

            yield show


def _title(error: Failure, command: str) -> str:
    if isinstance(error, DocumentError):
        return f"{command}: the {error.kind} is refused"
    if isinstance(error, Denied):
        return f"{command}: the policy says no"
    return f"{command}: {_FAMILIES.get(error.exit_code, 'failed')}"


_FAMILIES = {
    2: "cannot do that",
    3: "not found",
    4: "refused",
    5: "no answer",
    6: "not signed in",
}


def _causes(error: Failure) -> list[str]:
    if isinstance(error, DocumentError):
        return [str(problem) for problem in error.problems]
    if isinstance(error, DeniedWithRemedies):
        return [str(remedy) for remedy in error.remedies]
    if isinstance(error, Denied):
        return [str(reason) for reason in error.decision.reasons]
    if isinstance(error, ServiceError):
        problem = error.problem
        reasons = [
            f"{one['code']} at {one['path'] or '/'}: {one['msg']}" for one in problem.reasons
        ]
        fields = [str(field) for field in problem.problems]
        return [problem.detail or problem.title, *reasons, *fields]
    return str(error).splitlines()


def _problem(error: Failure, command: str) -> dict[str, Any]:
    problem: dict[str, Any] = {
        "type": f"urn:depa:problem:{error.code}",
        "title": _title(error, command),
        "status": error.http_status,
        "detail": str(error),
        "hint": error.hint,
        "exitCode": error.exit_code,
    }
    if isinstance(error, DocumentError):
        problem["problems"] = [
            {"pointer": p.pointer, "message": p.message, "hint": p.hint} for p in error.problems
        ]
    if isinstance(error, Denied):
        problem["reasons"] = [reason.to_json() for reason in error.decision.reasons]
    if isinstance(error, DeniedWithRemedies):
        problem["reasons"] = [remedy.to_json() for remedy in error.remedies]
    if isinstance(error, Refused) and error.found:
        problem["found"] = list(error.found)
    if isinstance(error, ServiceError):
        problem["reasons"] = list(error.problem.reasons)
        problem["decisionId"] = error.problem.decision_id
        problem["status"] = error.problem.status
    return problem
