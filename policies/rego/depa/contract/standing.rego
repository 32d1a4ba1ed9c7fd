# METADATA
# title: The contract's standing
# description: Schema, window, purpose, revocation and replacement.
package depa.contract

import data.depa.lib

# Clocks of signers may run ahead of ours by this many microseconds.
skew := 300000000

# A week, in microseconds.
notice := 604800000000

deny contains lib.reason("SCHEMA_UNSUPPORTED", "/schemaVersion", msg) if {
	input.contract.schemaVersion != "1.0"
	msg := sprintf("expected schema version 1.0, got %v", [input.contract.schemaVersion])
}

deny contains lib.reason("PURPOSE_NOT_ALLOWED", "/purpose", msg) if {
	input.contract.purpose != "TRAINING"
	msg := sprintf("expected purpose TRAINING, got %v", [input.contract.purpose])
}

deny contains lib.reason("PLACEHOLDER_LEFT", path, msg) if {
	some path in input.contract.unfilled
	msg := "expected a contract that is filled in, got a placeholder"
}

deny contains lib.reason("WINDOW_INVALID", "/expiryTime", msg) if {
	input.contract.expiresAt <= input.contract.startsAt
	msg := sprintf("expires at %v, expected later than its start at %v", [
		lib.instant(input.contract.expiresAt),
		lib.instant(input.contract.startsAt),
	])
}

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

warn contains lib.reason("CONTRACT_EXPIRES_SOON", "/expiryTime", msg) if {
	input.now < input.contract.expiresAt
	input.contract.expiresAt - input.now < notice
	msg := sprintf("expires at %v, in less than seven days", [lib.instant(input.contract.expiresAt)])
}
