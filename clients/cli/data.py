"""`depa data`: from volumes to a sealed file in a blob store, and the offer that describes it."""

from __future__ import annotations

import os
import re
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clients.api.blobs import split_blob_url
from clients.api.stores import open_store
from clients.cli.command import Session, command, new_app
from clients.cli.errors import Refused, UsageError
from clients.cli.files import file_digest, write_new
from clients.cli.identity import own_card
from clients.cli.output import Answer
from clients.cli.tasks.kek import KekKind, own_kek
from clients.cli.tasks.offer import Offer, read_offer
from clients.cli.tasks.rules import read_rules
from policies.wire.contract import Dataset, KeyRef, SealedFile
from trainer.data.manifest import Manifest, TableManifest, VolumesManifest, read_manifest
from trainer.sealed import SealedBlob, seal

if TYPE_CHECKING:
    from trainer.data.prepare import Report

app = new_app("Preprocess, seal and upload a data set.")


class What(StrEnum):
    """What a sealed file holds."""

    DATASET = "dataset"
    BASE_MODEL = "base-model"


class PlaneName(StrEnum):
    """Direction in which volumes are cut."""

    AXIAL = "axial"
    CORONAL = "coronal"
    SAGITTAL = "sagittal"


class Layout(StrEnum):
    """What volumes become."""

    SLICES = "slices"
    VOLUMES = "volumes"


@command(
    app,
    "preprocess",
    examples="depa data preprocess volumes/ prepared/ --size 64; "
    "depa data preprocess scans/ prepared/ --modality ct --window brain --window subdural; "
    "depa data preprocess scans/ prepared/ --modality ct --window 40:80 --layout volumes "
    "--spacing 5 --spacing 2 --spacing 2",
)
def preprocess(
    session: Session,
    source: Annotated[Path, typer.Argument(help="Folder of NIfTI volumes or DICOM series.")],
    out: Annotated[Path, typer.Argument(help="Folder to create.")],
    *,
    layout: Annotated[Layout, typer.Option(help="2D slices, or whole volumes.")] = Layout.SLICES,
    modality: Annotated[
        list[str] | None, typer.Option(help="Channel: flair, t1, t1ce, t2 or ct; repeatable.")
    ] = None,
    window: Annotated[
        list[str] | None,
        typer.Option(help="Window of a CT: CENTRE:WIDTH, brain, subdural, stroke, bone."),
    ] = None,
    spacing: Annotated[
        list[float] | None, typer.Option(help="Volumes: mm between voxels, once or three times.")
    ] = None,
    plane: Annotated[PlaneName, typer.Option(help="Direction of the slices.")] = PlaneName.AXIAL,
    size: Annotated[int, typer.Option(help="Height and width in pixels.")] = 64,
    min_tumour: Annotated[int, typer.Option(help="Mask pixels that make a chosen slice.")] = 10,
    max_slices: Annotated[int, typer.Option(help="Slices with a mask a patient.")] = 8,
    negative_slices: Annotated[int, typer.Option(help="Other slices a patient.")] = 0,
    augment: Annotated[int, typer.Option(help="Changed copies of each slice.")] = 0,
    jobs: Annotated[int, typer.Option(help="Processes.")] = 1,
) -> Answer:
    """Turn scans into normalised slices or volumes; damaged ones are named and left out."""
    # The image libraries take a while to load; no other command of this noun needs them.
    from trainer.data.intensity import Window  # noqa: PLC0415
    from trainer.data.prepare import prepare  # noqa: PLC0415
    from trainer.data.preprocess import Augmentation, Plane, Recipe  # noqa: PLC0415
    from trainer.data.whole import VolumeRecipe  # noqa: PLC0415

    modalities = tuple(modality or ("flair",))
    windows = tuple(Window.parse(text) for text in window or ())
    recipe: Recipe | VolumeRecipe
    if layout is Layout.VOLUMES:
        recipe = VolumeRecipe(spacing=_spacing(spacing), modalities=modalities, windows=windows)
    elif spacing:
        raise UsageError("slices have a size, not a spacing", hint="give --layout volumes")
    else:
        recipe = Recipe(
            plane=Plane(plane.value),
            size=(size, size),
            min_tumour_pixels=min_tumour,
            max_slices=max_slices,
            negative_slices=negative_slices,
            modalities=modalities,
            windows=windows,
            augmentation=Augmentation(copies=augment) if augment else None,
        )
    report = prepare(source, out, recipe=recipe, jobs=min(jobs, os.cpu_count() or 1))
    return _prepared(session, out, report)


def _spacing(given: list[float] | None) -> tuple[float, float, float]:
    match given or [5.0, 2.0, 2.0]:
        case [side]:
            return side, side, side
        case [depth, height, width]:
            return depth, height, width
        case sides:
            hint = "give --spacing once, or for depth, height and width"
            raise UsageError(f"--spacing is given {len(sides)} times", hint=hint)


def _prepared(session: Session, out: Path, report: Report) -> Answer:
    for refused in report.refused:
        session.out.note(f"left out: {refused}")
    manifest = report.manifest
    value: dict[str, Any] = {"folder": str(out), "patients": len(manifest.patients)}
    what = f"{out}: {len(manifest.patients)} patients"
    if isinstance(manifest, Manifest):
        value["slices"] = sum(entry.slices for entry in manifest.patients)
        what += f", {value['slices']} slices"
    value["refused"] = [{"patient": r.patient, "reason": r.reason} for r in report.refused]
    return Answer(value, f"{what}, {len(report.refused)} volumes left out")


@command(app, "table", examples="depa data table visits.csv visits/ --unit-key person")
def table_(
    session: Session,
    source: Annotated[Path, typer.Argument(help="CSV file with a header, or Parquet file.")],
    out: Annotated[Path, typer.Argument(help="Folder to create.")],
    *,
    unit_key: Annotated[str, typer.Option(help="Column that says whose row it is.")],
    text: Annotated[list[str] | None, typer.Option(help="Column to keep as text.")] = None,
) -> Answer:
    """Turn a table into a folder to seal; the schema that it prints becomes public."""
    from trainer.data.tables import write_table  # noqa: PLC0415 - takes a while to load

    manifest = write_table(source, out, unit_key=unit_key, text=text or ())
    columns = {column.name: column.type for column in manifest.table.columns}
    session.out.note("names and types of the columns will stand in the contract")
    listed = "\n".join(f"  {name}: {kind}" for name, kind in columns.items())
    return Answer(
        {"folder": str(out), "units": manifest.units, "unitKey": unit_key, "columns": columns},
        f"{out}: {manifest.units} people by {unit_key}, {len(columns)} columns\n{listed}",
    )


@command(app, "seal", examples="depa data seal prepared/ --id brats-a --name Brains")
def seal_(
    session: Session,
    source: Annotated[Path, typer.Argument(help="Prepared folder, or a file with weights.")],
    *,
    file_id: Annotated[str, typer.Option("--id", help="Id in contracts.")],
    name: Annotated[str, typer.Option(help="Name in contracts.")],
    out: Annotated[Path | None, typer.Option(help="Sealed file; ID.sealed without it.")] = None,
    offer: Annotated[Path | None, typer.Option(help="Offer; ID.offer.json without it.")] = None,
    version: Annotated[str, typer.Option(help="Version of the data.")] = "1",
    what: Annotated[What, typer.Option(help="What it is.")] = What.DATASET,
    key_kind: Annotated[KekKind, typer.Option(help="Kind of vault key.")] = KekKind.RSA,
    rules: Annotated[Path | None, typer.Option(help="Rego file of this provider's rules.")] = None,
) -> Answer:
    """Encrypt a data set or base weights under this party's key, and write the offer for it."""
    card = own_card(session.home)
    if rules is not None and what is not What.DATASET:
        raise UsageError("rules go with a data set", hint="leave out --rules")
    own_rules = None if rules is None else read_rules(rules).text
    key_name = re.sub(r"[^a-z0-9-]", "-", file_id.lower()) + "-key"
    sealed_path = out or Path(f"{file_id}.sealed")
    offer_path = offer or Path(f"{file_id}.offer.json")
    if offer_path.exists():
        raise UsageError(f"{offer_path} exists already")
    units = _units(source) if what is What.DATASET else None
    key = KeyRef(vault=session.settings.need("vault").rstrip("/"), name=key_name)
    url = f"{session.settings.need('blobs').rstrip('/')}/{sealed_path.name}"
    kek = own_kek(session.open_keystore(), key.name, kind=key_kind)
    sealed_path.parent.mkdir(parents=True, exist_ok=True)
    blob = seal(source, sealed_path, dataset=file_id, version=version, kek=kek)
    file = SealedFile(
        id=file_id,
        name=name,
        provider=card.id,
        url=url,
        digest=blob.digest,
        size=blob.size,
        version=version,
        key=key,
    )
    made = Offer(
        party=card.party,
        dataset=None if units is None else _dataset(file, source, units),
        base_model=file if units is None else None,
        rules=own_rules,
    )
    write_new(offer_path, made.canonical())
    return _sealed_answer(blob, offer_path, units)


@command(app, "upload", examples="depa data upload brats-a.sealed --offer brats-a.offer.json")
def upload(
    session: Session,
    sealed: Annotated[Path, typer.Argument(help="Sealed file.")],
    *,
    offer: Annotated[Path, typer.Option(help="Its offer.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a blob.")] = False,
) -> Answer:
    """Copy a sealed file to the place that its offer names, if it is the file of the offer."""
    file = read_offer(offer).file
    if sealed.stat().st_size != file.size:
        raise Refused(f"{sealed}: expected {file.size} bytes, got {sealed.stat().st_size}")
    digest = file_digest(sealed)
    if digest != file.digest:
        raise Refused(f"{sealed}: expected {file.digest}, got {digest}")
    store, name = split_blob_url(file.url)
    open_store(store).upload(sealed, name=name, overwrite=overwrite)
    session.out.note(f"uploaded to {store}")
    return Answer(
        {"url": file.url, "digest": file.digest, "size": file.size},
        f"uploaded {file.id}: {file.size} bytes, {file.digest}\n{file.url}",
    )


def _units(source: Path) -> int:
    manifest = read_manifest(source)
    if isinstance(manifest, TableManifest):
        # Only tables need a database, which takes a while to load.
        from trainer.data.tables import check_table  # noqa: PLC0415

        check_table(source)
    if isinstance(manifest, Manifest | VolumesManifest):
        return len(manifest.patients)
    return manifest.units


def _dataset(file: SealedFile, source: Path, units: int) -> Dataset:
    manifest = read_manifest(source)
    table = manifest.table if isinstance(manifest, TableManifest) else None
    return Dataset(**dict(file), units=units, format=manifest.layout, table=table)


def _sealed_answer(blob: SealedBlob, offer: Path, units: int | None) -> Answer:
    count = "" if units is None else f", {units} privacy units"
    return Answer(
        {
            "sealed": str(blob.path),
            "digest": blob.digest,
            "size": blob.size,
            "units": units,
            "offer": str(offer),
        },
        f"sealed {blob.path}: {blob.size} bytes{count}\n{blob.digest}\noffer: {offer}",
    )
