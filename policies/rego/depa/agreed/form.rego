# METADATA
# title: What kind of contract it is
# description: Its schema, its purpose, whether it is filled in, and whether there is a time in which it holds.
package depa.agreed

import data.depa.lib

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
