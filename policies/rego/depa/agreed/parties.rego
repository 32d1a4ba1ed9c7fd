# METADATA
# title: Who is party to the contract
# description: Each in one role, the model for the consumer, and some clean room that all of them trust.
package depa.agreed

import data.depa.lib

party_list := array.concat([input.contract.tdc], array.concat(input.contract.tdps, [input.contract.ccrp]))

parties := {party | some party in party_list}

providers := {party | some party in input.contract.tdps}

deny contains lib.reason("PARTY_MISSING", path, msg) if {
	some role in ["tdc", "ccrp"]
	input.contract[role] == ""
	path := concat("", ["/", role])
	msg := sprintf("expected a %v, got none", [role])
}

deny contains lib.reason("PARTY_MISSING", "/tdps", msg) if {
	count(input.contract.tdps) == 0
	msg := "expected at least one training data provider, got none"
}

deny contains lib.reason("PARTY_DUPLICATE", "", msg) if {
	count(parties) < count(party_list)
	some party in parties
	places := [index | some index, other in party_list; other == party]
	count(places) > 1
	msg := sprintf("expected each party in one role, got %v in %v", [party, count(places)])
}

deny contains lib.reason("RECIPIENT_NOT_CONSUMER", "/output/recipient", msg) if {
	input.contract.recipient != input.contract.tdc
	msg := sprintf("expected the model to be sealed to %v, got %v", [input.contract.tdc, input.contract.recipient])
}

deny contains lib.reason("TRUST_TERMS_EMPTY", path, msg) if {
	some field in ["authorities", "hostData", "compliance"]
	count(input.contract.attestation[field]) == 0
	path := concat("/", ["/attestation", field])
	msg := sprintf("expected at least one of %v, got none", [field])
}
