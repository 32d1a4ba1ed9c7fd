"""What the policies see: verified, complete and in whole numbers.

A fact document is built from wire documents and from what somebody has verified before. The
builders do not verify: a signer in `signatures` is one whose signature was checked, evidence
claims are those of a token that was checked. Facts hold no tokens and no floating-point numbers.
"""

from policies.facts.attestation import AttestationFacts, attestation_facts
from policies.facts.contract import ContractFacts, contract_facts
from policies.facts.release import ReleaseFacts, release_facts
from policies.facts.signature import Signed
from policies.facts.training import BudgetAfter, TrainingFacts, training_facts

__all__ = [
    "AttestationFacts",
    "BudgetAfter",
    "ContractFacts",
    "ReleaseFacts",
    "Signed",
    "TrainingFacts",
    "attestation_facts",
    "contract_facts",
    "release_facts",
    "training_facts",
]
