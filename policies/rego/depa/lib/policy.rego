# METADATA
# title: The policy that judges is the policy that was agreed to
package depa.lib

# Digest of the bundle these rules come from, as its loader computed it.
judging := input.bundle.digest

policy_mismatch contains reason("POLICY_MISMATCH", "/policy/digest", msg) if {
	input.contract.policy.digest != judging
	msg := sprintf("the contract agrees to policy %s, judged by %s", [input.contract.policy.digest, judging])
}

policy_mismatch contains reason("POLICY_MISMATCH", "/policy/id", msg) if {
	input.contract.policy.id != "depa"
	msg := sprintf("the contract agrees to policy %s, judged by depa", [input.contract.policy.id])
}

policy_complete if {
	is_digest(judging)
	is_digest(input.contract.policy.digest)
	is_text(input.contract.policy.id)
	is_text(input.contract.policy.version)
}
