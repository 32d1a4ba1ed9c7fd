"""The scenarios that can be played, and how large."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from clients.cli.errors import NotFoundError, UsageError
from clients.cli.play.role import packages_root


@dataclass(frozen=True)
class Provider:
    """A data provider and its one data set."""

    name: str
    """The role's name, and its folder's."""
    organization: str
    cohort: str
    """What the scenario's generator calls this provider."""
    dataset: str
    title: str


@dataclass(frozen=True)
class Size:
    """How much of a scenario is played."""

    patients: int
    """Of each provider; 0 where the generator decides."""
    test_patients: int
    steps: int | None = None
    """Training steps instead of the configured ones."""
    batch: int | None = None
    """Expected units a step instead of the configured ones."""
    floor: float | None = None
    """What the model has to reach on the public test data."""


@dataclass(frozen=True)
class Scenario:
    """Who takes part, with which data."""

    name: str
    consumer: str
    room: str
    """Organisation that provides the clean room."""
    providers: tuple[Provider, ...]
    units: str
    """What a provider's data set is counted in."""
    figure: str
    """Name of the figure of merit in the play's result."""
    metric: str
    """Which metric of the fetched model it is."""
    preprocess: bool
    """Whether generated data are volumes that have to be sliced."""
    sizes: Mapping[str, Size]
    base_model: str
    """Id of the base weights in the contract."""
    recipe: tuple[str, ...] = ()
    """Arguments of the preprocessing."""

    @property
    def folder(self) -> Path:
        """Where its files are.

        Raises:
            NotFoundError: when depa is installed without its scenarios.
        """
        found = packages_root() / "scenarios" / self.name
        if not found.is_dir():
            raise NotFoundError(
                f"{found} is not there", hint="play scenarios in a checkout of depa"
            )
        return found


_MRI: Final = Scenario(
    name="mri-tumor-segmentation",
    consumer="Lesion Models Ltd",
    room="Clean Room Cloud",
    providers=tuple(
        Provider(
            name=f"hospital-{letter.lower()}",
            organization=f"Hospital {letter}",
            cohort=letter,
            dataset=f"brats-{letter.lower()}",
            title=f"Brain MRI of hospital {letter}",
        )
        for letter in "ABCD"
    ),
    units="patients",
    figure="dice",
    metric="dice_score",
    preprocess=True,
    sizes={
        "full": Size(patients=250, test_patients=60, floor=0.85),
        "tiny": Size(patients=12, test_patients=6, steps=4, batch=12),
    },
    base_model="unet2d-start",
)
_MNIST: Final = Scenario(
    name="mnist",
    consumer="Digit Readers Ltd",
    room="Clean Room Cloud",
    providers=(
        Provider(
            name="postal-office",
            organization="Postal Office",
            cohort="",
            dataset="digits",
            title="Handwritten digits",
        ),
    ),
    units="digits",
    figure="accuracy",
    metric="accuracy",
    preprocess=False,
    sizes={
        "full": Size(patients=0, test_patients=0, floor=0.90),
        "tiny": Size(patients=0, test_patients=0, steps=4, batch=64),
    },
    base_model="digit-net-start",
)
_ICH: Final = Scenario(
    name="ich-ct",
    consumer="Stroke Readers Ltd",
    room="Clean Room Cloud",
    providers=tuple(
        Provider(
            name=f"hospital-{letter.lower()}",
            organization=f"Hospital {letter}",
            cohort=letter,
            dataset=f"ich-{letter.lower()}",
            title=f"Head CT of hospital {letter}",
        )
        for letter in "ABC"
    ),
    units="patients",
    figure="dice",
    metric="dice_score",
    preprocess=True,
    sizes={
        "full": Size(patients=300, test_patients=30, floor=0.5),
        "tiny": Size(patients=6, test_patients=3, steps=3, batch=6),
    },
    base_model="unet3d-start",
    recipe=(
        *("--layout", "volumes", "--spacing", "5"),
        *("--modality", "ct", "--window", "brain", "--window", "subdural"),
    ),
)
SCENARIOS: Final = {scenario.name: scenario for scenario in (_MRI, _MNIST, _ICH)}


def find_scenario(name: str) -> Scenario:
    """Return a scenario by name.

    Raises:
        UsageError: when there is none of this name.
    """
    try:
        return SCENARIOS[name]
    except KeyError:
        raise UsageError(f"no scenario {name}", hint=f"there are {', '.join(SCENARIOS)}") from None
