"""How good the models are that the scenarios' recipes train, for several privacy budgets.

Patients are made by the MRI scenario's own generator (four providers, and the developer's public
test patients); digits are those of the MNIST scenario. Each figure is the median over seeds of the
mean Dice per test patient, or of the accuracy on the test digits: of the scenario's own recipe, and
of a convolutional network that starts from random weights. A seed decides the initial
weights, the batches and the noise, so that a figure can be repeated; the clean room takes all of
them from the operating system instead. Recipes were chosen on other patients (cohort `validation`)
and on a part of the training digits.

    python benchmarks/utility.py --json
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from steps.digits import recipe

from policies.accounting import plan_training
from policies.wire.pipeline import Pipeline, PrivacyParams, TrainDlConfig, consolidate
from trainer import predict
from trainer.data.join import DirectoryJoin, open_dataset
from trainer.data.prepare import prepare
from trainer.data.preprocess import Recipe
from trainer.data.units import UnitDataset
from trainer.loop import train
from trainer.metrics.classes import classification, confusion_matrix
from trainer.metrics.masks import overlap
from trainer.models.factory import build_model, read_base_model
from trainer.privacy.streams import Streams

SCENARIOS = Path(__file__).resolve().parent.parent / "scenarios"
MRI, MNIST = "mri-tumor-segmentation", "mnist"
PROVIDERS = "ABCD"
EPSILONS: dict[str, float | None] = {
    "dice_eps_inf": None,
    "dice_eps8": 8.0,
    "dice_eps3": 3.0,
    "dice_eps1_5": 1.5,
}
MNIST_FIGURE = "mnist_accuracy_eps3"
MNIST_CNN_FIGURE = "mnist_cnn_accuracy_eps3"
FIGURES = (*EPSILONS, MNIST_FIGURE, MNIST_CNN_FIGURE)


@dataclass(frozen=True)
class Trial:
    """One training run."""

    figure: str
    scenario: str
    epsilon: float | None
    """None trains the same recipe without privacy."""
    seed: int
    folder: Path
    threads: int


@dataclass(frozen=True)
class Outcome:
    """What came of it."""

    trial: Trial
    score: float
    seconds: float
    noise_multiplier: float
    steps: int


def pipeline(scenario: str) -> Pipeline:
    """Return the pipeline that the scenario's configuration parts make."""
    found = sorted((SCENARIOS / scenario / "config").glob("*_config.json"))
    parts = {path.name.removesuffix("_config.json"): path.read_bytes() for path in found}
    return consolidate(parts, contract="sha256:" + "0" * 64, name=scenario)


def with_epsilon(config: TrainDlConfig, epsilon: float | None) -> TrainDlConfig:
    """Return the same recipe for another budget."""
    if epsilon is None:
        return config.model_copy(update={"is_private": False, "privacy_params": None})
    if config.privacy_params is None:
        raise ValueError("the scenario's recipe is not private")
    params = PrivacyParams.model_validate({**dict(config.privacy_params), "epsilon": epsilon})
    return config.model_copy(update={"privacy_params": params})


def stage(trial: Trial) -> TrainDlConfig:
    """Return the training stage of a trial."""
    if trial.figure == MNIST_CNN_FIGURE and trial.epsilon is not None:
        return recipe(epsilon=trial.epsilon)
    return with_epsilon(pipeline(trial.scenario).train, trial.epsilon)


def run(trial: Trial) -> Outcome:
    """Train and measure once."""
    logging.disable(logging.WARNING)
    torch.set_num_threads(trial.threads)
    config = stage(trial)
    units, test = data(trial)
    torch.manual_seed(trial.seed)
    # The scenario's own U-Net starts from one seed; here every trial starts from its own.
    base = read_base_model(trial.folder / "base") if config.model.kind == "onnx" else None
    model = build_model(config.model, base=base)
    agreed = plan_training(config, units=len(units)) if config.is_private else None
    started = time.monotonic()
    trained = train(
        model,
        units,
        config,
        agreed=agreed,
        streams=Streams.unsafe_seeded(trial.seed),
        on_step=lambda _: None,
    )
    seconds = time.monotonic() - started
    model.load_state_dict(trained.weights)
    return Outcome(
        trial=trial,
        score=measure(model, test, config),
        seconds=seconds,
        noise_multiplier=agreed.noise_multiplier if agreed else 0.0,
        steps=trained.steps,
    )


def data(trial: Trial) -> tuple[UnitDataset, UnitDataset]:
    """Return the training units and the test units of a trial."""
    if trial.scenario == MNIST:
        digits = trial.folder / "digits"
        return open_dataset(digits / "train"), open_dataset(digits / "test")
    sets = {name: open_dataset(trial.folder / "sets" / name) for name in PROVIDERS}
    return DirectoryJoin(sets), open_dataset(trial.folder / "sets" / "test")


def measure(model: torch.nn.Module, test: UnitDataset, config: TrainDlConfig) -> float:
    """Return mean Dice per patient, or accuracy."""
    if config.task_type == "segmentation":
        found = predict.cases(model, test, threshold=config.threshold)
        return overlap("dice_score", found).value
    predicted, truth = predict.classes(model, test)
    matrix = confusion_matrix(predicted, truth, classes=10)
    return classification("accuracy", matrix).value


def generate(folder: Path, *, patients: int, test_patients: int, seed: int, jobs: int) -> None:
    """Make both scenarios' data below a folder."""
    cohorts = {**dict.fromkeys(PROVIDERS, patients), "test": test_patients}
    script = [sys.executable, str(SCENARIOS / MRI / "generate.py"), "--seed", str(seed)]
    commands = [
        [*script, "--out", str(folder / "volumes" / name), "--provider", name, "--patients", str(n)]
        for name, n in cohorts.items()
    ]
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        list(pool.map(_quietly, commands))
    for name in cohorts:
        prepare(folder / "volumes" / name, folder / "sets" / name, recipe=Recipe(), jobs=jobs)
    for program, out in (("generate.py", "digits"), ("base_model.py", "base")):
        _quietly([sys.executable, str(SCENARIOS / MNIST / program), "--out", str(folder / out)])


def _quietly(command: list[str]) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - fixed programs


def trials(args: argparse.Namespace, folder: Path) -> Iterable[Trial]:
    """Yield all runs."""
    threads = max(1, (os.cpu_count() or 1) // args.jobs)
    for seed in range(1, args.seeds + 1):
        for figure in args.figures:
            scenario = MRI if figure in EPSILONS else MNIST
            yield Trial(figure, scenario, EPSILONS.get(figure, 3.0), seed, folder, threads)


def table(outcomes: list[Outcome]) -> str:
    """Return the figures, one line each, with the spread over seeds."""
    lines = [
        f"{'figure':<24} {'median':>7} {'lowest':>7} {'highest':>7} {'noise':>7} {'seconds':>8}"
    ]
    for figure in FIGURES:
        chosen = [one for one in outcomes if one.trial.figure == figure]
        if not chosen:
            continue
        scores = [one.score for one in chosen]
        seconds = statistics.median(one.seconds for one in chosen)
        lines.append(
            f"{figure:<24} {statistics.median(scores):7.4f} {min(scores):7.4f} {max(scores):7.4f} "
            f"{chosen[0].noise_multiplier:7.3f} {seconds:8.1f}"
        )
    return "\n".join(lines)


def main() -> None:
    """Run all trials and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--figures", nargs="+", choices=FIGURES, default=FIGURES)
    parser.add_argument("--patients", type=int, default=250, help="of each of the four providers")
    parser.add_argument("--test-patients", type=int, default=100)
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--data-seed", type=int, default=2026)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        generate(
            folder,
            patients=args.patients,
            test_patients=args.test_patients,
            seed=args.data_seed,
            jobs=args.jobs,
        )
        outcomes = []
        with ProcessPoolExecutor(args.jobs, multiprocessing.get_context("spawn")) as pool:
            for outcome in pool.map(run, trials(args, folder)):
                outcomes.append(outcome)
                trial = outcome.trial
                print(
                    f"seed {trial.seed} {trial.figure} {outcome.score:.4f} "
                    f"in {outcome.seconds:.0f} s",
                    file=sys.stderr,
                    flush=True,
                )
    print(table(outcomes))
    if args.json:
        scores: dict[str, list[float]] = {}
        for outcome in outcomes:
            scores.setdefault(outcome.trial.figure, []).append(outcome.score)
        print(json.dumps({name: round(statistics.median(one), 4) for name, one in scores.items()}))


if __name__ == "__main__":
    main()
