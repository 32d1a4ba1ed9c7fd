"""`depa model`: use a model that was fetched."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clients.cli.command import Session, command, new_app
from clients.cli.output import Answer

app = new_app("Use a fetched model on own scans.")


@command(app, "predict", examples="depa model predict model/ brain7_image.nii.gz --out found/")
def predict(
    session: Session,
    model: Annotated[Path, typer.Argument(help="Folder that depa run fetch has made.")],
    scans: Annotated[
        list[Path],
        typer.Argument(metavar="SCAN...", help="NIfTI file, DICOM series or patient's folder."),
    ],
    *,
    out: Annotated[Path, typer.Option(help="Folder to create.")],
    like: Annotated[
        Path | None,
        typer.Option(
            help="Folder prepared as the training data was; without it as the test data of the "
            "fetch."
        ),
    ] = None,
    overlap: Annotated[
        float, typer.Option(help="Of the windows on a volume.", min=0, max=0.9)
    ] = 0.5,
) -> Answer:
    """Find in own scans what the model was trained for: masks on their voxels, and pictures.

    A scan that is damaged is named and left out. Nothing leaves this machine.
    """
    # The image and network libraries take a while to load; only this verb needs them.
    from clients.cli.tasks.predicting import predict_scans  # noqa: PLC0415

    return predict_scans(model, scans, folder=out, like=like, overlap=overlap, output=session.out)
