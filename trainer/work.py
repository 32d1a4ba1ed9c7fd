"""The work of a clean room that has its keys: open the files, have the model trained, seal it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from clients.api.blobs import split_blob_url
from clients.api.stores import open_store
from policies import accounting
from policies.accounting import PrivacyPlan
from policies.agreement import Agreement
from policies.attestation.runtime import decode_base64url
from policies.errors import BudgetError
from policies.population import most_units
from policies.wire.contract import Dataset
from policies.wire.run import Spent
from trainer.messages import OUTPUT, Stepped
from trainer.report import COMPLETED, Outcome, Reporter
from trainer.sealed.dataset import held_name, hold, unseal
from trainer.sealed.keys import DataKey, OpeningKek
from trainer.sealed.output import seal_output
from trainer.spending import spent_after
from trainer.training import COMMAND, Training, job_of

REFUSED_BEFORE_A_STEP: Final = "engine-refused"


@dataclass
class Work:
    """One run from its keys to its sealed model; what it has done so far is always known."""

    agreement: Agreement
    scratch: Path
    """Private folder on encrypted memory; everything in clear stays below it."""
    reporter: Reporter
    command: tuple[str, ...] = COMMAND
    opened: tuple[str, ...] = ()
    training: Training | None = None
    plan: PrivacyPlan | None = None

    def do(self, keks: Mapping[str, OpeningKek]) -> Outcome:
        """Unseal, train and seal.

        Args:
            keks: Released keys by id of the sealed file.

        Raises:
            SealedError: when a file is not the one of the contract.
            TrainingFailed: when no model comes of it.
            BudgetError: when the plan's cost cannot be computed.
            NetworkError: when a store does not answer.
        """
        self.reporter = limited(self.reporter, self.agreement)
        self.reporter.phase("unsealing")
        self.plan = privacy_plan(self.agreement)
        self.training = Training(
            job_of(self.agreement, plan=self.plan, scratch=self.scratch),
            on_ready=lambda: self.reporter.phase("training"),
            on_step=self._stepped,
            command=self.command,
        )
        with self.training:
            files = open_files(self.agreement, keks=keks, scratch=self.scratch)
            self.opened = files.digests
            self.training.hold(files.held)
            steps = self.training.run()
        self.reporter.phase("sealing", step=steps)
        return self._sealed()

    def outcome(self, reason: str) -> Outcome:
        """Return what there is to report if the run ends now."""
        restarts = self.training.restarts if self.training else 0
        return Outcome(reason, opened=self.opened, spent=self._spent(reason), restarts=restarts)

    def _spent(self, reason: str) -> Spent | None:
        params, training = self.agreement.pipeline.train.privacy_params, self.training
        if self.plan is None or params is None or training is None or training.reached is None:
            return None
        # A model that cannot be trained with a bound is refused before its first update.
        if training.reached == 0 and reason == REFUSED_BEFORE_A_STEP:
            return None
        steps = training.steps
        if steps is None:
            # The step after the last that was heard of counts as taken.
            steps = min(training.reached + 1, self.plan.steps)
        elif self.plan.metrics_noise is not None:
            # Metrics were released after the last step, whichever that was.
            steps = self.plan.steps
        try:
            return spent_after(steps, plan=self.plan, params=params)
        except BudgetError:
            # Of the whole plan it is known.
            return spent_after(self.plan.steps, plan=self.plan, params=params)

    def _stepped(self, step: Stepped, restarts: int) -> None:
        self.reporter.step(step, restarts=restarts)

    def _sealed(self) -> Outcome:
        output, run = self.agreement.contract.output, self.agreement.run
        path = self.scratch / "output.sealed"
        sealed = seal_output(
            self.scratch / OUTPUT,
            path,
            recipient=X25519PublicKey.from_public_bytes(
                decode_base64url(output.public_key, claim="output.publicKey")
            ),
            info={"contract": self.agreement.contract_digest, "run": run},
        )
        stored = open_store(output.url).upload(path, name=f"{run}.sealed")
        return replace(self.outcome(COMPLETED), model=sealed.digest, model_url=stored.url)


def limited(reporter: Reporter, agreement: Agreement) -> Reporter:
    """Return a reporter that knows how far the run may go."""
    config = agreement.pipeline.train
    limit = config.privacy_params.epsilon if config.privacy_params else 0.0
    return replace(
        reporter, steps=config.steps, micro_epsilon_limit=accounting.micro_epsilon(limit)
    )


def privacy_plan(agreement: Agreement) -> PrivacyPlan | None:
    """Return the plan that the approved pipeline and the contract's public numbers fix."""
    if not agreement.pipeline.train.is_private:
        return None
    units = most_units(agreement.pipeline, agreement.contract)
    return accounting.plan_training(agreement.pipeline.train, units=units)


@dataclass(frozen=True)
class OpenedFiles:
    """The files of an agreement, proven."""

    digests: tuple[str, ...]
    held: Mapping[str, DataKey] = field(repr=False)
    """Data keys of the files that stay sealed, by id."""


def open_files(
    agreement: Agreement, *, keks: Mapping[str, OpeningKek], scratch: Path
) -> OpenedFiles:
    """Open every file of the agreement.

    A database and a model's reader want files: tables and base models are unsealed into a folder of
    their id. Everything else stays sealed, and is read piece by piece.

    Raises:
        SealedError: when a file is not the one of the contract.
        NetworkError: when a store does not answer.
    """
    held: dict[str, DataKey] = {}
    for item in agreement.files:
        kek, digest, version = keks[item.id], item.digest, item.version
        store_url, name = split_blob_url(item.url)
        with open_store(store_url).open(name) as stream:
            if isinstance(item, Dataset) and item.format != "table":
                copy = scratch / held_name(item.id)
                files = hold(
                    stream,
                    kek=kek,
                    expected_digest=digest,
                    dataset=item.id,
                    version=version,
                    into=copy,
                )
                held[item.id] = files.key
                continue
            unseal(
                stream,
                kek=kek,
                expected_digest=digest,
                dataset=item.id,
                version=version,
                into=scratch / item.id,
            )
    return OpenedFiles(tuple(item.digest for item in agreement.files), held)
