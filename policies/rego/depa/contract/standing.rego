# METADATA
# title: Whether the contract stands
# description: |
#   One question for all that depa.standing has rules about. Where it holds, none of them denies;
#   where it does not, which is seldom, they are asked one by one. Where one of them is made stricter,
#   so is the question here.
package depa.contract

import data.depa.lib

# Clocks of signers may run ahead of ours by this many microseconds.
skew := 300000000

# A week, in microseconds.
notice := 604800000000

signers := {signature.signer | some signature in input.signatures}

stands if {
	input.revokedBy == []
	input.supersededBy == []
	input.now >= input.contract.startsAt
	input.now < input.contract.expiresAt
	signers == data.depa.agreed.parties
	every signature in input.signatures {
		signature.signedAt <= input.now + skew
		signature.signedAt < input.contract.expiresAt
		signature.signedAt >= signature.keyValidFrom
		signature.signedAt <= signature.keyValidUntil
	}
}

deny contains found if {
	not stands
	some found in data.depa.standing.deny
}

warn contains lib.reason("CONTRACT_EXPIRES_SOON", "/expiryTime", msg) if {
	input.now < input.contract.expiresAt
	input.contract.expiresAt - input.now < notice
	msg := sprintf("expires at %v, in less than seven days", [lib.instant(input.contract.expiresAt)])
}
