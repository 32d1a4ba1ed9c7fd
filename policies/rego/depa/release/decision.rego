# METADATA
# title: Whether keys may go to a clean room
# description: |
#   The contract must still hold; the run is approved, once; its budget is reserved; the keys are the
#   contract's own. The same request with the same token may be repeated until it is answered.
#   Reasons about the contract stand under /contract.
package depa.release

import data.depa.lib

# METADATA
# title: Decision about a release of keys
# entrypoint: true
# scope: document
decision := {"allow": allow, "reasons": reasons, "warnings": warnings, "policy": data.depa.lib.identity}

default allow := false

allow if {
	complete
	count(deny) == 0
}

# Facts that lack a field are not judged: no rule meets a value of a type that it does not expect.
reasons := deny if complete

reasons := incomplete if not complete

warnings := {warning | complete; some warning in warn}

incomplete contains lib.reason("FACTS_INCOMPLETE", "", msg) if {
	msg := "expected complete facts about a release; a field is missing or of another type"
}

deny contains under_contract if {
	some found in data.depa.contract.deny
	under_contract := lib.reason(found.code, concat("", ["/contract", found.path]), found.msg)
}

warn contains under_contract if {
	some found in data.depa.contract.warn
	under_contract := lib.reason(found.code, concat("", ["/contract", found.path]), found.msg)
}

complete if {
	data.depa.contract.complete
	run_complete
	lib.is_digest(input.request.token)
	lib.is_digest(input.request.nonce)
	lib.is_texts(input.request.nonceUsedWith)
	is_array(input.request.keys)
	every key in input.request.keys {
		lib.is_text(key.vault)
		lib.is_text(key.name)
		lib.is_text(key.kind)
		lib.is_text(key.file)
		lib.is_digest(key.digest)
	}
	is_array(input.approvals)
	count(input.approvals) <= 1
	every approval in input.approvals {
		lib.is_text(approval.run)
		lib.is_digest(approval.contract)
		lib.is_digest(approval.pipeline)
		lib.is_whole(approval.approvedAt)
		lib.is_whole(approval.expiresAt)
		lib.is_texts(approval.charged)
	}
}

run_complete if {
	lib.is_text(input.run.id)
	lib.is_text(input.run.state)
	lib.is_digest(input.run.contract)
	lib.is_digest(input.run.pipeline)
	lib.is_texts(input.run.reads.datasets)
	lib.is_texts(input.run.reads.baseModels)
	lib.is_texts(input.run.releasingTo)
	lib.is_texts(input.run.reserved)
}
