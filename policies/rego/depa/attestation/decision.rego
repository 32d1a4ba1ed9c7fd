# METADATA
# title: Whether a clean room is the one that was agreed to
# description: |
#   Claims of a verified token against the contract's terms of trust, and what the room was started
#   for against what the service expects. Paths point into the token's claims.
package depa.attestation

import data.depa.lib

# METADATA
# title: Decision about evidence
# entrypoint: true
# scope: document
decision := {"allow": allow, "reasons": reasons, "warnings": warnings, "policy": data.depa.lib.identity}

default allow := false

# A token may end while the vaults are asked; a minute, in microseconds.
notice := 60000000

warn contains lib.reason("EVIDENCE_EXPIRES_SOON", "/exp", msg) if {
	input.now < claims.expiresAt
	claims.expiresAt - input.now < notice
	msg := sprintf("expires at %v, in less than a minute", [lib.instant(claims.expiresAt)])
}

allow if {
	complete
	count(deny) == 0
}

# Facts that lack a field are not judged: no rule meets a value of a type that it does not expect.
reasons := deny if complete

reasons := incomplete if not complete

warnings := {warning | complete; some warning in warn}

incomplete contains lib.reason("FACTS_INCOMPLETE", "", msg) if {
	msg := "expected complete facts about evidence; a field is missing or of another type"
}

deny contains under_contract if {
	some found in data.depa.lib.policy_mismatch
	under_contract := lib.reason(found.code, concat("", ["/contract", found.path]), found.msg)
}

complete if {
	lib.is_whole(input.now)
	data.depa.lib.policy_complete
	lib.is_digest(input.contract.digest)
	data.depa.lib.trust_complete
	claims_complete
	binding_complete(input.claims.bound)
	lib.is_digest(input.expected.contract)
	lib.is_text(input.expected.run)
	lib.is_digest(input.expected.pipeline)
	lib.is_digest(input.expected.nonce)
	input.expected.contract == input.contract.digest
}

claims_complete if {
	lib.is_text(input.claims.issuer)
	lib.is_text(input.claims.type)
	is_string(input.claims.compliance)
	is_boolean(input.claims.debuggable)
	is_boolean(input.claims.migratable)
	lib.is_whole(input.claims.vmpl)
	lib.is_text(input.claims.hostData)
	lib.is_whole(input.claims.guestSvn)
	lib.is_tcb(input.claims.tcb)
	lib.is_text(input.claims.measurement)
	lib.is_whole(input.claims.issuedAt)
	lib.is_whole(input.claims.expiresAt)
	lib.is_texts(input.claims.keys)
}

binding_complete(bound) if {
	is_string(bound.contract)
	is_string(bound.run)
	is_string(bound.pipeline)
	is_string(bound.nonce)
}
