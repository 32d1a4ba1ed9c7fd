# METADATA
# title: Terms that several policies read
# description: The policy that judges must be the one that was agreed to; and which rooms are trusted.
package depa.lib

# What every decision says it was made by; the version is that of codes.json.
identity := {"id": "depa", "version": "1.0.0"}

# Digest of the bundle these rules come from, as its loader computed it.
judging := input.bundle.digest

policy_mismatch contains reason("POLICY_MISMATCH", "/policy/digest", msg) if {
	input.contract.policy.digest != judging
	msg := sprintf("the contract agrees to policy %v, judged by %v", [input.contract.policy.digest, judging])
}

policy_mismatch contains reason("POLICY_MISMATCH", "/policy/id", msg) if {
	input.contract.policy.id != identity.id
	msg := sprintf("the contract agrees to policy %v, judged by %v", [input.contract.policy.id, identity.id])
}

policy_mismatch contains reason("POLICY_MISMATCH", "/policy/version", msg) if {
	input.contract.policy.version != identity.version
	msg := sprintf("the contract agrees to version %v, judged by %v", [input.contract.policy.version, identity.version])
}

policy_complete if {
	is_digest(judging)
	is_digest(input.contract.policy.digest)
	is_text(input.contract.policy.id)
	is_text(input.contract.policy.version)
	is_array(input.contract.policy.partyRules)
	every rule in input.contract.policy.partyRules {
		is_string(rule.provider)
		is_text(rule.name)
		is_string(rule.digest)
	}
}

trust_complete if {
	is_texts(input.contract.attestation.authorities)
	is_texts(input.contract.attestation.hostData)
	is_texts(input.contract.attestation.compliance)
	is_whole(input.contract.attestation.minimumGuestSvn)
	is_tcb(input.contract.attestation.minimumTcb)
	is_texts(input.contract.attestation.measurements)
	is_whole(input.contract.attestation.maxTokenAge)
}
