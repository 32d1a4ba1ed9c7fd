# METADATA
# title: Tests of the release policy
package depa.release_test

decide(patches) := decision if {
	facts := json.patch(data.depa.examples.release, patches)
	decision := data.depa.release.decision with input as facts
}

codes(patches) := {reason.code | some reason in decide(patches).reasons}

change(path, value) := {"op": "replace", "path": path, "value": value}

token := data.depa.examples.digest("1")

other := data.depa.examples.digest("9")

repeated := [
	change("/run/state", "releasing"),
	change("/run/releasingTo", [token]),
	change("/request/nonceUsedWith", [token]),
]

refused := {
	["APPROVAL_EXPIRED", 0]: [change("/approvals/0/expiresAt", data.depa.examples.now)],
	["APPROVAL_FROM_FUTURE", 0]: [change("/approvals/0/approvedAt", data.depa.examples.now + 30000001)],
	["APPROVAL_MISSING", 0]: [change("/approvals", [])],
	["APPROVAL_OF_OTHER_RUN", 0]: [change("/approvals/0/run", "run-2")],
	["APPROVAL_OF_OTHER_RUN", 1]: [change("/approvals/0/contract", other)],
	["APPROVAL_OF_OTHER_RUN", 2]: [change("/approvals/0/pipeline", other)],
	["APPROVAL_WITHOUT_CHARGE", 0]: [change("/approvals/0/charged", ["set-a"])],
	["BUDGET_NOT_RESERVED", 0]: [change("/run/reserved", ["set-b"])],
	["CONTRACT_EXPIRED", 0]: [change("/contract/expiresAt", data.depa.examples.now)],
	["CONTRACT_NOT_EXECUTED", 0]: [change("/executed", false)],
	["CONTRACT_REVOKED", 0]: [change("/revokedBy", ["did:b"])],
	["FACTS_INCOMPLETE", 0]: [{"op": "remove", "path": "/request/nonceUsedWith"}],
	["FACTS_INCOMPLETE", 2]: [{"op": "remove", "path": "/run/reads/baseModels"}],
	["FACTS_INCOMPLETE", 3]: [{"op": "remove", "path": "/request/keys/0/digest"}],
	["FACTS_INCOMPLETE", 1]: [{"op": "remove", "path": "/run/pipeline"}],
	["KEYS_MISSING", 0]: [change("/request/keys", [])],
	["KEYS_MISSING", 1]: [{"op": "remove", "path": "/request/keys/1"}],
	["KEYS_MISSING", 2]: [{"op": "remove", "path": "/request/keys/2"}],
	["KEY_AT_OTHER_VAULT", 0]: [change("/request/keys/0/vault", "https://b.example")],
	["KEY_NOT_IN_CONTRACT", 0]: [change("/request/keys/0/file", "set-c")],
	["KEY_NOT_IN_CONTRACT", 1]: [change("/request/keys/0/digest", other)],
	["KEY_NOT_IN_CONTRACT", 2]: [change("/request/keys/0/kind", "baseModels")],
	["KEY_NOT_IN_CONTRACT", 3]: [change("/request/keys/0/kind", "privacy")],
	["KEY_NOT_READ", 0]: [change("/run/reads/datasets", ["set-b"])],
	["KEY_NOT_READ", 1]: [change("/run/reads/baseModels", [])],
	["KEY_OF_OTHER_FILE", 0]: [change("/request/keys/2/name", "other")],
	["KEY_REPEATED", 0]: [{"op": "add", "path": "/request/keys/-", "value": data.depa.examples.release.request.keys[0]}],
	["NONCE_USED", 0]: [change("/request/nonceUsedWith", [other])],
	["NONCE_USED", 1]: [change("/request/nonceUsedWith", [token])],
	["NONCE_USED", 2]: array.concat(repeated, [change("/request/nonceUsedWith", [token, other])]),
	["OTHER_CONTRACT", 0]: [change("/run/contract", other)],
	["RUN_STATE", 0]: [change("/run/state", "released")],
	["RUN_STATE", 1]: [change("/run/state", "submitted")],
	["RUN_STATE", 2]: [change("/run/releasingTo", [token])],
	["RUN_STATE", 3]: array.concat(repeated, [change("/run/releasingTo", [other])]),
}

test_a_good_release_is_allowed if {
	decide([]) == {"allow": true, "reasons": set(), "warnings": set(), "policy": data.depa.lib.identity}
}

test_the_same_request_may_be_repeated if {
	decide(repeated).allow
}

test_each_change_is_refused_for_its_reason if {
	every key, patches in refused {
		key[0] in codes(patches)
		decide(patches).allow == false
	}
}

test_warnings_about_the_contract_stand_under_it if {
	decision := decide([change("/contract/expiresAt", data.depa.examples.now + data.depa.examples.day)])
	decision.allow
	{warning.path | some warning in decision.warnings} == {"/contract/expiryTime"}
}
