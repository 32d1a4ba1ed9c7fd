"""The work of a clean room that has its keys: unseal, train, seal."""

from __future__ import annotations

from dataclasses import replace

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from clients.api.stores import open_store
from policies import accounting
from policies.accounting import PrivacyPlan
from policies.agreement import Agreement
from policies.attestation.runtime import decode_base64url
from policies.population import most_units
from policies.wire.run import Spent
from trainer.inputs import Inputs, open_inputs
from trainer.loop import Trained, train
from trainer.models.factory import write_model
from trainer.privacy.streams import Streams
from trainer.report import COMPLETED, Outcome, Reporter
from trainer.room import Room
from trainer.sealed.output import seal_output
from trainer.spending import spent_after

__all__ = ["limited", "open_inputs", "privacy_plan", "train_and_seal", "whole"]


def limited(reporter: Reporter, agreement: Agreement) -> Reporter:
    """Return a reporter that knows how far the run may go."""
    config = agreement.pipeline.train
    limit = config.privacy_params.epsilon if config.privacy_params else 0.0
    return replace(
        reporter, steps=config.steps, micro_epsilon_limit=accounting.micro_epsilon(limit)
    )


def whole(agreement: Agreement, plan: PrivacyPlan | None) -> Spent | None:
    """Return the cost of every step of the run; None if it is not private."""
    params = agreement.pipeline.train.privacy_params
    if plan is None or params is None:
        return None
    return spent_after(plan.steps, plan=plan, params=params)


def train_and_seal(
    agreement: Agreement,
    inputs: Inputs,
    *,
    plan: PrivacyPlan | None,
    room: Room,
    reporter: Reporter,
) -> Outcome:
    """Train and seal; everything in clear stays below the scratch folder."""
    reporter.phase("training")
    trained = train(
        inputs.model,
        inputs.units,
        agreement.pipeline.train,
        agreed=plan,
        streams=Streams(),
        on_step=reporter.step,
    )
    reporter.phase("sealing", step=trained.steps)
    return _sealed(trained, inputs, agreement=agreement, room=room)


def privacy_plan(agreement: Agreement) -> PrivacyPlan | None:
    """Return the plan that the approved pipeline and the contract's public numbers fix."""
    if not agreement.pipeline.train.is_private:
        return None
    units = most_units(agreement.pipeline, agreement.contract)
    return accounting.plan_training(agreement.pipeline.train, units=units)


def _sealed(trained: Trained, inputs: Inputs, *, agreement: Agreement, room: Room) -> Outcome:
    output = agreement.contract.output
    folder = room.scratch / "output"
    folder.mkdir(mode=0o700)
    write_model(trained.weights, config=agreement.pipeline.train, base=inputs.base, folder=folder)
    sealed = seal_output(
        folder,
        room.scratch / "output.sealed",
        recipient=X25519PublicKey.from_public_bytes(
            decode_base64url(output.public_key, claim="output.publicKey")
        ),
        info={"contract": agreement.contract_digest, "run": agreement.run},
    )
    stored = open_store(output.url).upload(
        room.scratch / "output.sealed", name=f"{agreement.run}.sealed"
    )
    return Outcome(
        reason=COMPLETED,
        opened=inputs.opened,
        spent=trained.spent,
        model=sealed.digest,
        model_url=stored.url,
    )
