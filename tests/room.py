"""Two hospitals' small data sets, sealed, and what a clean room with their keys is to do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from safetensors.numpy import save_file

from policies import accounting
from policies.accounting import PrivacyPlan
from policies.agreement import Agreement
from policies.attestation.runtime import encode_base64url
from policies.population import most_units
from policies.wire.contract import Contract
from policies.wire.pipeline import Pipeline
from policies.wire.run import Progress
from tests.samples import contract_json, pipeline_json
from tests.training import Blobs, train_json
from trainer.data.manifest import MANIFEST, Manifest, PatientEntry
from trainer.messages import Job
from trainer.models.factory import WEIGHTS_FILE, build_model
from trainer.models.weights import write_weights
from trainer.report import Reporter
from trainer.sealed import OctKek, seal
from trainer.training import held_keys, job_of
from trainer.work import OpenedFiles, Work, open_files

PATIENTS = 6
SECRET = b"k" * 32
MODEL = train_json()["model"]
STAGE: dict[str, Any] = {
    "model": MODEL,
    "dataset": train_json()["dataset"],
    "steps": 4,
    "batchSize": 4,
}


def prepare(folder: Path, *, prefix: str, seed: int) -> None:
    """Write a prepared data set of slices."""
    folder.mkdir(parents=True)
    blobs = Blobs(count=PATIENTS, seed=seed)
    entries = []
    for index in range(PATIENTS):
        image, mask = blobs.unit(index)
        tensors = {"image": image.astype(np.float16), "mask": mask.astype(np.uint8)}
        name = f"{prefix}-{index}"
        save_file(tensors, folder / f"{name}.safetensors")
        entries.append(PatientEntry(patient=name, slices=len(image)))
    manifest = Manifest(patients=tuple(entries), channels=1, size=(8, 8), recipe={})
    (folder / MANIFEST).write_bytes(manifest.canonical())


@dataclass
class Lent:
    """The plain data of everybody; a test may change them before they are sealed."""

    root: Path
    output_key: X25519PrivateKey = field(default_factory=X25519PrivateKey.generate)

    _files: OpenedFiles | None = None

    def __post_init__(self) -> None:
        for seed, name in enumerate(("mri-a", "mri-b")):
            prepare(self.plain(name), prefix=name, seed=seed)
        torch.manual_seed(3)
        config = Pipeline.from_json(pipeline_json("sha256:" + "0" * 64, **STAGE)).train
        weights = write_weights(build_model(config.model, base=None).state_dict())
        self.plain("base").mkdir()
        (self.plain("base") / WEIGHTS_FILE).write_bytes(weights)

    def plain(self, name: str) -> Path:
        return self.root / "plain" / name

    @property
    def scratch(self) -> Path:
        return self.root / "scratch"

    def terms(self, contract: Mapping[str, Any]) -> dict[str, Any]:
        """Seal everything; return the parts of a contract that change by it."""
        parts = json.loads(json.dumps({n: contract[n] for n in ("datasets", "baseModels")}))
        for item in (*parts["datasets"], *parts["baseModels"]):
            name = item["id"]
            blob = seal(
                self.plain(name),
                self.root / f"{name}.sealed",
                dataset=name,
                version=item["version"],
                kek=OctKek(item["key"]["name"], SECRET),
            )
            item |= {"url": f"file://{blob.path}", "digest": blob.digest, "size": blob.size}
            if "units" in item:
                item["units"] = PATIENTS
        public = encode_base64url(self.output_key.public_key().public_bytes_raw())
        url = f"file://{self.root / 'blobs'}"
        return {**parts, "output": {**contract["output"], "publicKey": public, "url": url}}

    def agreement(self, **train: Any) -> Agreement:
        """Seal everything and agree on a pipeline with some fields changed."""
        document = contract_json()
        contract = Contract.from_json(document | self.terms(document))
        return agreement_of(contract, **train)

    def work(self, agreement: Agreement, said: list[Progress], **changes: Any) -> Work:
        """Return the work of a clean room."""
        self.scratch.mkdir(mode=0o700, exist_ok=True)
        reporter = Reporter(say=said.append, seconds=lambda: 1.0)
        return Work(agreement, **{"scratch": self.scratch, "reporter": reporter, **changes})

    def job(self, agreement: Agreement) -> Job:
        """Return what the training process is told, the files being open."""
        self.scratch.mkdir(mode=0o700, exist_ok=True)
        if self._files is None:
            self._files = open_files(agreement, keks=keks(agreement), scratch=self.scratch)
        job = job_of(agreement, plan=plan_of(agreement), scratch=self.scratch)
        return job.model_copy(update={"held": held_keys(self._files.held)})


def agreement_of(contract: Contract, *, run: str = "run-" + "a" * 26, **train: Any) -> Agreement:
    """Return what a clean room was approved to do under a contract."""
    pipeline = Pipeline.from_json(pipeline_json(contract.digest(), **{**STAGE, **train}))
    return Agreement(
        contract=contract,
        contract_digest=contract.digest(),
        pipeline=pipeline,
        pipeline_digest=pipeline.digest(),
        approval=None,  # type: ignore[arg-type]  # the work asks for none
        run=run,
        service="did:web:service.example",
    )


def plan_of(agreement: Agreement) -> PrivacyPlan | None:
    train = agreement.pipeline.train
    if not train.is_private:
        return None
    units = most_units(agreement.pipeline, agreement.contract)
    return accounting.plan_training(train, units=units)


def keks(agreement: Agreement) -> dict[str, OctKek]:
    """Return the released keys by id of the sealed file."""
    return {item.id: OctKek(item.key.name, SECRET) for item in agreement.files}
