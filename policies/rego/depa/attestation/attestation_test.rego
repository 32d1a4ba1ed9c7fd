# METADATA
# title: Tests of the attestation policy
package depa.attestation_test

decide(patches) := decision if {
	facts := json.patch(data.depa.examples.attestation, patches)
	decision := data.depa.attestation.decision with input as facts
}

codes(patches) := {reason.code | some reason in decide(patches).reasons}

change(path, value) := {"op": "replace", "path": path, "value": value}

refused := {
	["BOUND_TO_OTHER_CONTRACT", 0]: [change("/claims/bound/contract", data.depa.examples.digest("9"))],
	["BOUND_TO_OTHER_CONTRACT", 1]: [change("/claims/bound/contract", "")],
	["BOUND_TO_OTHER_NONCE", 0]: [change("/claims/bound/nonce", data.depa.examples.digest("9"))],
	["BOUND_TO_OTHER_PIPELINE", 0]: [change("/claims/bound/pipeline", data.depa.examples.digest("9"))],
	["BOUND_TO_OTHER_RUN", 0]: [change("/claims/bound/run", "run-2")],
	["EVIDENCE_COMPLIANCE", 0]: [change("/claims/compliance", "")],
	["EVIDENCE_DEBUGGABLE", 0]: [change("/claims/debuggable", true)],
	["EVIDENCE_EXPIRED", 0]: [change("/claims/expiresAt", data.depa.examples.now)],
	["EVIDENCE_FROM_FUTURE", 0]: [change("/claims/issuedAt", data.depa.examples.now + 30000001)],
	["EVIDENCE_GUEST_SVN", 0]: [change("/claims/guestSvn", 1)],
	["EVIDENCE_HOST_DATA", 0]: [change("/claims/hostData", "other")],
	["EVIDENCE_ISSUER", 0]: [change("/claims/issuer", "https://other.example")],
	["EVIDENCE_MEASUREMENT", 0]: [change("/claims/measurement", "other")],
	["EVIDENCE_MIGRATABLE", 0]: [change("/claims/migratable", true)],
	["EVIDENCE_TCB", 0]: [change("/claims/tcb/bootloader", 2)],
	["EVIDENCE_TCB", 1]: [change("/contract/attestation/minimumTcb/tee", 1)],
	["EVIDENCE_TCB", 2]: [change("/claims/tcb/snp", 7)],
	["EVIDENCE_TCB", 3]: [change("/claims/tcb/microcode", 114)],
	["EVIDENCE_TOO_OLD", 0]: [change("/claims/issuedAt", data.depa.examples.now - 600000001)],
	["EVIDENCE_TYPE", 0]: [change("/claims/type", "sgx")],
	["EVIDENCE_VMPL", 0]: [change("/claims/vmpl", 1)],
	["FACTS_INCOMPLETE", 0]: [{"op": "remove", "path": "/claims/debuggable"}],
	["FACTS_INCOMPLETE", 3]: [{"op": "remove", "path": "/claims/tcb/snp"}],
	["FACTS_INCOMPLETE", 4]: [{"op": "remove", "path": "/contract/attestation/measurements"}],
	["FACTS_INCOMPLETE", 5]: [change("/claims/measurement", 7)],
	["FACTS_INCOMPLETE", 1]: [{"op": "remove", "path": "/expected/nonce"}],
	["FACTS_INCOMPLETE", 2]: [change("/expected/contract", data.depa.examples.digest("9"))],
	["POLICY_MISMATCH", 0]: [change("/bundle/digest", data.depa.examples.digest("9"))],
	["RELEASE_KEY_MISSING", 0]: [change("/claims/keys", ["report"])],
	["REPORT_KEY_MISSING", 0]: [change("/claims/keys", ["release"])],
}

test_good_evidence_is_allowed if {
	decide([]) == {"allow": true, "reasons": set(), "warnings": set(), "policy": data.depa.lib.identity}
}

test_without_a_list_every_endorsed_measurement_is_allowed if {
	decide([
		change("/contract/attestation/measurements", []),
		change("/claims/measurement", "other"),
	]).allow
}

test_each_change_is_refused_for_its_reason if {
	every key, patches in refused {
		key[0] in codes(patches)
		decide(patches).allow == false
	}
}

test_a_token_that_ends_soon_is_warned_of if {
	decision := decide([change("/claims/expiresAt", data.depa.examples.now + 59000000)])
	decision.allow
	{warning.code | some warning in decision.warnings} == {"EVIDENCE_EXPIRES_SOON"}
}
