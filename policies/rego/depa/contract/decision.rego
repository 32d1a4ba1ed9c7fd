# METADATA
# title: Whether a contract holds now
# description: |
#   Its terms as agreed, its window, signatures and revocation. Whether the ledger says that it is
#   executed is asked by the policies that let something happen under it.
package depa.contract

import data.depa.lib

# METADATA
# title: Decision about a contract
# entrypoint: true
# scope: document
decision := {"allow": allow, "reasons": reasons, "warnings": warnings, "policy": data.depa.lib.identity}

default allow := false

allow if {
	complete
	count(deny) == 0
}

# Facts that lack a field are not judged: no rule meets a value of a type that it does not expect.
reasons := deny if complete

reasons := incomplete if not complete

warnings := {warning | complete; some warning in warn}

incomplete contains lib.reason("FACTS_INCOMPLETE", "", msg) if {
	msg := "expected complete facts about a contract; a field is missing or of another type"
}

# What depa.agreed finds about the terms. An engine may have asked it about the very same terms
# before, and hand its answer on; nothing in facts has this name.
agreed := input.prepared if is_prepared

agreed := data.depa.agreed.verdict if not is_prepared

is_prepared if is_object(input.prepared)

deny contains found if {
	some found in agreed.deny
}

warn contains found if {
	some found in agreed.warn
}

# Comparisons instead of predicates in loops, see depa.lib: this runs for every decision.
complete if {
	agreed.complete == true
	lib.is_whole(input.now)
	is_boolean(input.executed)
	lib.is_texts(input.revokedBy)
	lib.is_texts(input.supersededBy)
	is_array(input.signatures)
	every signature in input.signatures {
		signature.signer >= ""
		signature.signer < []
		signature.signedAt > 0
		signature.signedAt < ""
		signature.keyValidFrom >= 0
		signature.keyValidFrom < ""
		signature.keyValidUntil > true
		signature.keyValidUntil < ""
	}
}
