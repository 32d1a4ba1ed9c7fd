# METADATA
# title: The run and its approval
package depa.release

import data.depa.lib

# A clock that is a little behind the approver's must not refuse a fresh approval; microseconds.
skew := 30000000

executed if input.executed == true

# The first request of an approved run.
in_releasable_state if {
	input.run.state == "approved"
	count(input.run.releasingTo) == 0
}

# The same request again, after an answer was lost.
in_releasable_state if repeated

repeated if {
	input.run.state == "releasing"
	input.run.releasingTo == [input.request.token]
}

is_fresh_nonce if count(input.request.nonceUsedWith) == 0

is_fresh_nonce if {
	repeated
	input.request.nonceUsedWith == [input.request.token]
}

charged_ids := {id | some approval in input.approvals; some id in approval.charged}

reserved_ids := {id | some id in input.run.reserved}

private_ids := {use.dataset | some use in input.contract.dataUse; use.privateOnly != false}

deny contains lib.reason("CONTRACT_NOT_EXECUTED", "/contract", msg) if {
	not executed
	msg := "expected a contract that all parties have signed on the ledger, got one that is not executed"
}

deny contains lib.reason("OTHER_CONTRACT", "/run/contract", msg) if {
	input.run.contract != input.contract.digest
	msg := sprintf("expected a run under contract %v, got %v", [input.contract.digest, input.run.contract])
}

deny contains lib.reason("RUN_STATE", "/run/state", msg) if {
	not in_releasable_state
	msg := sprintf("expected a run that is approved, or the same request again, got one that is %v", [input.run.state])
}

deny contains lib.reason("APPROVAL_MISSING", "/approvals", msg) if {
	count(input.approvals) == 0
	msg := sprintf("expected an approval of run %v, got none", [input.run.id])
}

deny contains lib.reason("APPROVAL_OF_OTHER_RUN", path, msg) if {
	some approval in input.approvals
	some field, wanted in {"run": input.run.id, "contract": input.run.contract, "pipeline": input.run.pipeline}
	approval[field] != wanted
	path := concat("/", ["/approvals/0", field])
	msg := sprintf("expected an approval of %v %v, got one of %v", [field, wanted, approval[field]])
}

deny contains lib.reason("APPROVAL_FROM_FUTURE", "/approvals/0/approvedAt", msg) if {
	some approval in input.approvals
	approval.approvedAt > input.now + skew
	msg := sprintf("expected approved before %v, got %v", [lib.instant(input.now), lib.instant(approval.approvedAt)])
}

deny contains lib.reason("APPROVAL_EXPIRED", "/approvals/0/expiresAt", msg) if {
	some approval in input.approvals
	input.now >= approval.expiresAt
	msg := sprintf("expired at %v, asked at %v", [lib.instant(approval.expiresAt), lib.instant(input.now)])
}

deny contains lib.reason("APPROVAL_WITHOUT_CHARGE", "/approvals/0/charges", msg) if {
	count(input.approvals) > 0
	some id in private_ids - charged_ids
	msg := sprintf("expected a charge on data set %v, which is only read privately, got none", [id])
}

deny contains lib.reason("BUDGET_NOT_RESERVED", "/run/reserved", msg) if {
	some id in charged_ids - reserved_ids
	msg := sprintf("expected a reservation on data set %v, got none", [id])
}

deny contains lib.reason("NONCE_USED", "/request/nonce", msg) if {
	not is_fresh_nonce
	msg := "expected a nonce that no other token has carried, got one that was used"
}
