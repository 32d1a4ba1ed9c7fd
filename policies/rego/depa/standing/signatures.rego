# METADATA
# title: Parties and their signatures
# description: |
#   Everybody who is named has signed, and nobody else, with a key that was valid then. That the
#   signatures verify has been proven before; others are no facts.
package depa.standing

import data.depa.lib

deny contains lib.reason("SIGNATURE_MISSING", path, msg) if {
	some party in data.depa.agreed.parties - data.depa.contract.signers
	party != ""
	some path in paths_of(party)
	msg := sprintf("expected a signature of %v, got none", [party])
}

paths_of(party) := {path | some path, other in roles; other == party}

roles := object.union(
	{"/tdc": input.contract.tdc, "/ccrp": input.contract.ccrp},
	{path: party |
		some index, party in input.contract.tdps
		path := sprintf("/tdps/%v", [index])
	},
)

deny contains lib.reason("SIGNATURE_OF_STRANGER", "", msg) if {
	some signer in data.depa.contract.signers - data.depa.agreed.parties
	msg := sprintf("expected signatures of the parties alone, got one of %v", [signer])
}

deny contains lib.reason("SIGNATURE_TIME", "", msg) if {
	some signature in input.signatures
	signature.signedAt > input.now + data.depa.contract.skew
	msg := sprintf("%v signed at %v, expected not after %v", [
		signature.signer,
		lib.instant(signature.signedAt),
		lib.instant(input.now),
	])
}

deny contains lib.reason("SIGNATURE_TIME", "", msg) if {
	some signature in input.signatures
	signature.signedAt >= input.contract.expiresAt
	msg := sprintf("%v signed at %v, expected before the expiry at %v", [
		signature.signer,
		lib.instant(signature.signedAt),
		lib.instant(input.contract.expiresAt),
	])
}

deny contains lib.reason("SIGNATURE_KEY_NOT_VALID", path, msg) if {
	some signature in input.signatures
	signature.signedAt < signature.keyValidFrom
	some path in paths_of(signature.signer)
	msg := sprintf("%v signed at %v with a key that is valid from %v on", [
		signature.signer,
		lib.instant(signature.signedAt),
		lib.instant(signature.keyValidFrom),
	])
}

deny contains lib.reason("SIGNATURE_KEY_NOT_VALID", path, msg) if {
	some signature in input.signatures
	signature.signedAt > signature.keyValidUntil
	some path in paths_of(signature.signer)
	msg := sprintf("%v signed at %v with a key that was valid until %v", [
		signature.signer,
		lib.instant(signature.signedAt),
		lib.instant(signature.keyValidUntil),
	])
}
