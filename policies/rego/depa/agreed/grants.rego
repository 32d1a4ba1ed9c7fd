# METADATA
# title: What the contract grants, and who adds rules to it
# description: |
#   Lists that grant something name something. A provider may add rules to those that all agreed
#   to; each set of rules has its own name, and its text is pinned.
package depa.agreed

import data.depa.lib

deny contains lib.reason("GRANT_EMPTY", path, msg) if {
	some field in ["models", "losses", "metrics", "outputs"]
	count(input.contract[field]) == 0
	path := concat("/", ["/constraints", field])
	msg := sprintf("expected at least one of %v, got none", [field])
}

deny contains lib.reason("PARTY_RULE_OF_STRANGER", path, msg) if {
	some index, rule in input.contract.policy.partyRules
	provider := rule.provider
	not is_provider(provider)
	path := sprintf("/policy/partyRules/%v/provider", [index])
	msg := sprintf("expected rules of the contract's data providers alone, got some of %v", [provider])
}

deny contains lib.reason("PARTY_RULE_DIGEST", path, msg) if {
	some index, rule in input.contract.policy.partyRules
	digest := rule.digest
	not lib.is_digest(digest)
	path := sprintf("/policy/partyRules/%v/digest", [index])
	msg := sprintf("expected sha256: and 64 hexadecimal digits for the rules %v, got %v", [rule.name, digest])
}

deny contains lib.reason("PARTY_RULE_DUPLICATE", "/policy/partyRules", msg) if {
	names := {rule.name | some rule in input.contract.policy.partyRules}
	count(names) < count(input.contract.policy.partyRules)
	msg := sprintf("expected %v different names, got %v", [count(input.contract.policy.partyRules), count(names)])
}
