"""The steps of a played scenario, in order; each one is what a person would type."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from clients.cli.play.cast import WORKERS, Cast
from clients.cli.play.narrator import Step, in_parallel
from clients.cli.play.role import Role, StepFailed

SEED = "2026"


def make_data(cast: Cast, step: Step) -> None:
    """Let providers prepare their data, a damaged volume among them; and the test data."""
    results = in_parallel(lambda role: _provide(cast, role, step), cast.providers, workers=WORKERS)
    _test_data(cast)
    units = sum(result["units"] for result in results)
    named = [text for result in results for text in result["refused"]]
    step.done = f"{len(results)} providers prepared {units} {cast.scenario.units}"
    step.proven = (
        f"damaged volumes are named and left out: {named[0]}"
        if named
        else "every record is complete and of one shape"
    )


def _provide(cast: Cast, role: Role, step: Step) -> dict[str, Any]:
    profile, prepared = cast.profile(role), role.home / "prepared"
    generator = cast.scenario.folder / "generate.py"
    raw = role.home / "raw"
    if not cast.scenario.preprocess:
        found = role.script(generator, "--out", raw, "--seed", SEED)
        (raw / "train").rename(prepared)
        return {"units": found["train"], "refused": []}
    count = str(cast.size.patients)
    role.script(
        generator, "--out", raw, "--provider", profile.cohort, "--patients", count, "--seed", SEED
    )
    _damage(raw)
    found = role.depa("data", "preprocess", raw, prepared, *cast.scenario.recipe)
    shutil.rmtree(raw)
    slices = f", {found['slices']} slices" if "slices" in found else ""
    step.progress(f"{profile.organization}: {found['patients']} patients{slices}")
    return {
        "units": found["patients"],
        "refused": [f"{one['patient']}: {one['reason']}" for one in found["refused"]],
    }


def _damage(raw: Path) -> None:
    """Add a copy of one patient whose image breaks off, as from an interrupted transfer."""
    patient = sorted(path for path in raw.iterdir() if path.is_dir())[0]
    copy = raw / f"{patient.name.rpartition('_')[0]}_cut"
    shutil.copytree(patient, copy)
    for path in list(copy.iterdir()):
        moved = path.rename(copy / path.name.replace(patient.name, copy.name))
        if "_seg" not in moved.name:
            image = sorted(moved.iterdir())[-1] if moved.is_dir() else moved
            data = image.read_bytes()
            image.write_bytes(data[: len(data) // 2])


def _test_data(cast: Cast) -> None:
    role, raw, test = cast.consumer, cast.consumer.home / "raw", cast.consumer.home / "test"
    generator = cast.scenario.folder / "generate.py"
    if not cast.scenario.preprocess:
        role.script(generator, "--out", raw, "--seed", SEED)
        (raw / "test").rename(test)
    else:
        count = str(cast.size.test_patients)
        role.script(
            generator, "--out", raw, "--provider", "test", "--patients", count, "--seed", SEED
        )
        role.depa("data", "preprocess", raw, test, *cast.scenario.recipe)
        # One scan as it came, for the finished model to look at.
        kept = sorted(raw.iterdir())[0]
        (role.home / "scan").mkdir()
        kept.rename(role.home / "scan" / kept.name)
    shutil.rmtree(raw)


def seal_and_upload(cast: Cast, step: Step) -> None:
    """Everybody seals under an own key and uploads; the consumer's base weights too."""

    def one(role: Role) -> int:
        if role is cast.consumer:
            file_id, title, what = cast.scenario.base_model, "Weights to start from", "base-model"
            source = role.home / "base"
            role.script(cast.scenario.folder / "base_model.py", "--out", source)
        else:
            profile = cast.profile(role)
            file_id, title, what = profile.dataset, profile.title, "dataset"
            source = role.home / "prepared"
        sealed = role.home / f"{file_id}.sealed"
        names = ("--id", file_id, "--name", title, "--what", what)
        found = role.depa(
            "data", "seal", source, *names, "--out", sealed, "--offer", cast.offer(role)
        )
        role.depa("data", "upload", sealed, "--offer", cast.offer(role))
        return int(found["size"])

    sizes = in_parallel(one, cast.owners, workers=WORKERS)
    step.done = f"{len(sizes)} files sealed and uploaded, {sum(sizes) / 1e6:.1f} MB"
    step.proven = "the blob store holds ciphertext only; its digests go into the contract"
    _check_ciphertext(cast)


def _check_ciphertext(cast: Cast) -> None:
    for path in cast.blobs.iterdir():
        data = path.read_bytes()
        for plain in (b"safetensors", b"dataset.json", b"ustar", b'"image"'):
            if plain in data:
                raise StepFailed(f"{path.name} holds the plaintext {plain!r}")


def agree(cast: Cast, step: Step) -> str:
    """Draft, check, sign in any order; return the executed contract's digest."""
    role, draft = cast.consumer, cast.consumer.home / "contract.json"
    template = cast.scenario.folder / "contract.json"
    unfinished = role.home / "unfinished.json"
    role.depa("contract", "init", template, "--out", unfinished)
    problem = role.refused("contract", "check", unfinished, code=2)
    offers = [text for owner in cast.owners for text in ("--offer", str(cast.offer(owner)))]
    role.depa("contract", "init", template, *offers, "--ccrp", cast.card(cast.room), "--out", draft)
    role.depa("contract", "check", draft)
    digest: str = role.depa("contract", "propose", draft)["digest"]
    first, *others = (cast.providers[-1], cast.room, *cast.providers[:-1], cast.consumer)
    first.depa("contract", "sign", digest, "--yes")
    waiting = role.depa("contract", "status", digest)["missing"]
    in_parallel(lambda r: r.depa("contract", "sign", digest, "--yes"), others, workers=WORKERS)
    found = role.depa("contract", "status", digest)
    if found["state"] != "executed":
        raise StepFailed(f"the contract is {found['state']}, missing {found['missing']}")
    fields = [item["pointer"] for item in problem["problems"]]
    step.progress(f"a draft with {len(fields)} open fields is refused: {', '.join(fields[:3])} ...")
    step.progress(f"after {first.name} signed, missing: {', '.join(waiting)}")
    step.done = f"{len(cast.parties)} parties signed {digest[:18]}…"
    step.proven = "the log holds every consent, and says executed only since the last one"
    return digest


def import_keys(cast: Cast, step: Step, *, contract: str) -> None:
    """Every owner checks the log and puts its key into its own vault, bound to the contract."""
    found = in_parallel(
        lambda role: role.depa("key", "import", contract), cast.owners, workers=WORKERS
    )
    claims = json.dumps(found[0]["policy"])
    if contract not in claims:
        raise StepFailed("the release policy does not name the contract")
    step.done = f"{len(found)} keys in {len(found)} vaults"
    step.proven = "each vault releases its key only to attested rooms of this very contract"


def submit(cast: Cast, step: Step, *, contract: str) -> str:
    """Put the pipeline together, check it as the service will, submit; return the run's id."""
    role, pipeline = cast.consumer, cast.consumer.home / "pipeline_config.json"
    config = _config(cast)
    checked = role.depa(
        "run", "check", config, "--contract", contract, "--name", "first run", "--out", pipeline
    )
    approved = role.depa("run", "submit", pipeline)
    if approved["pipeline"] != checked["pipeline"]:
        raise StepFailed("the service judged another pipeline than was checked")
    step.done = f"{approved['run']} is {approved['state']}, epsilon {checked['epsilon']:g} at most"
    step.proven = "the same policy bundle allowed it here and at the service"
    return str(approved["run"])


def _config(cast: Cast) -> Path:
    """Copy the scenario's parts, scaled down for a small play."""
    config = cast.consumer.home / "config"
    shutil.copytree(cast.scenario.folder / "config", config)
    part = config / "train_config.json"
    value = json.loads(part.read_bytes())
    for name, number in (("steps", cast.size.steps), ("batchSize", cast.size.batch)):
        if number is not None:
            value[name] = number
    part.write_text(json.dumps(value, indent=2), encoding="utf-8")
    return config


def train(cast: Cast, step: Step, *, run: str) -> dict[str, Any]:
    """Start the clean room and stay until it has ended; return the run's status."""
    found = cast.consumer.watched(step.progress, "run", "deploy", run, "--local")
    spent = found["spent"]
    epsilon, delta = spent["microEpsilon"] / 1e6, spent["deltaTrillionths"] / 1e12
    step.done = (
        f"{spent['steps']} steps in {found['seconds']:g} s on simulated hardware, "
        f"epsilon {epsilon:.4f} at delta {delta:g}"
    )
    step.proven = (
        "the room verified contract, approval and receipts, attested itself, and got keys "
        "after the log had the release"
    )
    return found


def fetch(cast: Cast, step: Step, *, run: str) -> dict[str, Any]:
    """Unseal the model, check it against the report, measure it on public data."""
    role, out = cast.consumer, cast.consumer.home / "model"
    png = ("--plot", role.home / "masks.png") if cast.scenario.preprocess else ()
    found = role.depa("run", "fetch", run, "--out", out, "--test", role.home / "test", *png)
    figure, floor = found["metrics"][cast.scenario.metric], cast.size.floor
    if figure is None:
        raise StepFailed(f"{cast.scenario.figure}: there was nothing to measure")
    if floor is not None and figure < floor:
        raise StepFailed(f"{cast.scenario.figure}: expected at least {floor}, got {figure:.4f}")
    if cast.scenario.preprocess:
        _look(cast, step, model=out)
    step.done = f"{cast.scenario.figure} {figure:.4f} on the developer's own public test data"
    step.proven = "the model is the one in the signed run report, and opens with one key alone"
    return found


def _look(cast: Cast, step: Step, *, model: Path) -> None:
    """Have the model find something in a scan as it came from the scanner."""
    role = cast.consumer
    scans = list((role.home / "scan").iterdir())
    (found,) = role.depa("model", "predict", model, *scans, "--out", role.home / "found")["scans"]
    amount = sum(found["millilitres"])
    step.progress(f"in {found['scan']} it finds {amount:.1f} ml: {Path(found['overlay']).name}")


def audit(cast: Cast, step: Step, *, contract: str, root: str) -> dict[str, Any]:
    """Export the record and verify it with nothing but the root's fingerprint."""
    bundle = cast.folder / "bundle.json"
    cast.providers[0].depa("audit", "export", contract, "--out", bundle)
    found = cast.providers[0].depa("audit", "verify", bundle, "--root", root)
    for check in found["checks"]:
        step.progress(f"{check['check']}: {check['found']}")
    step.done = f"{len(found['checks'])} checks over {found['entries']} log entries, offline"
    step.proven = "signatures, receipts, order, decisions made again, and budget sums all hold"
    return found
