"""How long a private training step takes, against the same step without privacy and against peers.

Every mode runs in a process of its own, a few seconds at a time, modes interleaved in rounds; each
figure is a ratio of medians over all steps. Peers: Opacus with its four ways to the gradients of
samples; vmap(grad) of PyTorch, which this project falls back to, has figures of its own.
`x_over_y` is the time (or memory) of x divided by that of y.

    python benchmarks/training.py --json
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version

import torch
from steps import exactness, preparing, unsealing
from steps.modes import MODES, PEERS
from steps.networks import TASKS

from trainer.memory import keep_freed_memory

_WARM_UP = 2
_MIN_STEPS = 3


@dataclass
class Timing:
    """All steps of one mode on one task."""

    seconds: list[float] = field(default_factory=list)
    megabytes: list[float] = field(default_factory=list)
    """Peak memory of each process above the one that had loaded everything."""

    @property
    def median(self) -> float:
        """Seconds a step."""
        return statistics.median(self.seconds)


def worker(task_name: str, mode: str, *, seconds: float, device_name: str) -> None:
    """Time one mode in this process and print the times."""
    keep_freed_memory()
    device = torch.device(device_name)
    task = TASKS[task_name]
    torch.manual_seed(0)
    model = task.network().to(device)
    inputs, targets = task.batch(device)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    step = MODES[mode](model, task.loss)
    times: list[float] = []
    began = time.perf_counter()
    while len(times) < _WARM_UP + _MIN_STEPS or time.perf_counter() - began < seconds:
        started = time.perf_counter()
        step(inputs, targets)
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    if device.type == "cuda":
        peak = torch.cuda.max_memory_allocated() // 1024
    print(json.dumps({"seconds": times[_WARM_UP:], "megabytes": peak / 1024}))


def measured(task: str, *, modes: list[str], args: argparse.Namespace) -> Mapping[str, Timing]:
    """Return the times of all modes on one task; a mode that fails is left out, and named."""
    timings: dict[str, Timing] = {}
    for number in range(args.rounds):
        for mode in modes:
            command = [sys.executable, __file__, "--worker", task, mode, args.device]
            found = subprocess.run(  # noqa: S603 - this very program
                [*command, "--seconds", str(args.seconds)],
                check=False,
                capture_output=True,
                text=True,
            )
            if found.returncode:
                reason = (found.stderr.strip().splitlines() or ["no message"])[-1]
                print(f"{task} {mode}: {reason[:200]}", file=sys.stderr)
                continue
            answer = json.loads(found.stdout)
            timing = timings.setdefault(mode, Timing())
            timing.seconds += answer["seconds"]
            timing.megabytes.append(answer["megabytes"])
            print(f"round {number + 1} {task} {mode} {timing.median:.4f} s", file=sys.stderr)
    return timings


def figures_of(task: str, timings: Mapping[str, Timing]) -> dict[str, float]:
    """Return the ratios of one task."""
    ours, base = timings["ours"], timings["plain"]
    best = min(timings[peer].median for peer in PEERS if peer in timings)
    found = {
        f"{task}_private_over_plain": ours.median / base.median,
        f"{task}_best_peer_over_ours": best / ours.median,
        f"{task}_vmap_over_ours": timings["vmap"].median / ours.median,
    }
    if task == "unet2d":
        bf16 = timings["ours-bf16"].median / base.median
        found = {
            "unet2d_private_over_plain_fp32": found.pop("unet2d_private_over_plain"),
            "unet2d_bf16_private_over_plain_fp32": bf16,
            **found,
            "unet2d_memory_over_plain": statistics.median(ours.megabytes)
            / statistics.median(base.megabytes),
        }
    return found


def table(task: str, timings: Mapping[str, Timing]) -> str:
    """Return the times of one task as a table."""
    base = timings["plain"].median
    lines = [f"{task}: {'x'.join(map(str, TASKS[task].shape))}"]
    lines.append(f"  {'mode':<18} {'ms a step':>10} {'of plain':>9} {'peak MB':>8}")
    for mode, timing in sorted(timings.items(), key=lambda item: item[1].median):
        memory = statistics.median(timing.megabytes)
        lines.append(
            f"  {mode:<18} {timing.median * 1e3:10.1f} {timing.median / base:9.2f} {memory:8.0f}"
        )
    return "\n".join(lines)


def main() -> None:
    """Run everything and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each mode in each round")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--architectures", type=int, default=20, help="random ones to compare")
    parser.add_argument("--volumes", type=int, default=96, help="to preprocess")
    parser.add_argument("--megabytes", type=int, default=256, help="to unseal and load")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--worker", nargs=3, metavar=("TASK", "MODE", "DEVICE"))
    args = parser.parse_args()
    if args.worker:
        task, mode, device = args.worker
        worker(task, mode, seconds=args.seconds, device_name=device)
        return
    print(f"torch {torch.__version__}, opacus {version('opacus')}, {args.device}")
    figures: dict[str, float] = {}
    for task in args.tasks:
        modes = [m for m in MODES if task == "unet2d" or not m.endswith("bf16")]
        timings = measured(task, modes=modes, args=args)
        print(table(task, timings))
        figures |= figures_of(task, timings)
    figures["norm_error_max"] = exactness.largest_error(args.architectures)
    figures["preprocess_over_serial"] = preparing.over_serial_apart(args.volumes)
    figures |= unsealing.over_tink(args.megabytes)
    if args.json:
        print(json.dumps({name: float(f"{value:.4g}") for name, value in figures.items()}))


if __name__ == "__main__":
    main()
