# METADATA
# title: The contract's standing
# description: Window, revocation and replacement.
package depa.standing

import data.depa.lib

deny contains lib.reason("CONTRACT_NOT_STARTED", "/startTime", msg) if {
	input.now < input.contract.startsAt
	msg := sprintf("starts at %v, asked at %v", [
		lib.instant(input.contract.startsAt),
		lib.instant(input.now),
	])
}

deny contains lib.reason("CONTRACT_EXPIRED", "/expiryTime", msg) if {
	input.now >= input.contract.expiresAt
	msg := sprintf("expired at %v, asked at %v", [
		lib.instant(input.contract.expiresAt),
		lib.instant(input.now),
	])
}

deny contains lib.reason("CONTRACT_REVOKED", "", msg) if {
	some party in input.revokedBy
	msg := sprintf("%v has revoked the contract", [party])
}

deny contains lib.reason("CONTRACT_SUPERSEDED", "", msg) if {
	some digest in input.supersededBy
	msg := sprintf("contract %v takes its place", [digest])
}
