# METADATA
# title: Tests of what keeps a contract from standing
package depa.standing_test

codes(patches) := found if {
	facts := json.patch(data.depa.examples.contract, patches)
	denied := data.depa.standing.deny with input as facts
	found := {reason.code | some reason in denied}
}

test_no_rule_denies_a_contract_that_stands if {
	codes([]) == set()
}

test_each_signature_that_is_missing_or_too_many_is_named if {
	codes([{"op": "replace", "path": "/signatures/0/signer", "value": "did:other"}]) ==
		{"SIGNATURE_MISSING", "SIGNATURE_OF_STRANGER"}
}

test_a_contract_that_is_over_and_revoked_is_both if {
	codes([
		{"op": "replace", "path": "/now", "value": data.depa.examples.contract.contract.expiresAt},
		{"op": "replace", "path": "/revokedBy", "value": ["did:web:a"]},
	]) == {"CONTRACT_EXPIRED", "CONTRACT_REVOKED"}
}
