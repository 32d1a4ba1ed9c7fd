# METADATA
# title: What the clean room was started for
package depa.attestation

import data.depa.lib

bound := input.claims.bound

expected := input.expected

has_key(name) if name in input.claims.keys

deny contains lib.reason("BOUND_TO_OTHER_CONTRACT", "/x-ms-runtime/depa/contract", msg) if {
	bound.contract != expected.contract
	msg := sprintf("expected contract %v, got %v", [expected.contract, bound.contract])
}

deny contains lib.reason("BOUND_TO_OTHER_RUN", "/x-ms-runtime/depa/run", msg) if {
	bound.run != expected.run
	msg := sprintf("expected run %v, got %v", [expected.run, bound.run])
}

deny contains lib.reason("BOUND_TO_OTHER_PIPELINE", "/x-ms-runtime/depa/pipeline", msg) if {
	bound.pipeline != expected.pipeline
	msg := sprintf("expected pipeline %v, got %v", [expected.pipeline, bound.pipeline])
}

deny contains lib.reason("BOUND_TO_OTHER_NONCE", "/x-ms-runtime/depa/nonce", msg) if {
	bound.nonce != expected.nonce
	msg := "expected the nonce that was given out for this run, got another"
}

deny contains lib.reason("RELEASE_KEY_MISSING", "/x-ms-runtime/keys", msg) if {
	not has_key("release")
	msg := "expected a key to wrap secrets to, got none"
}

deny contains lib.reason("REPORT_KEY_MISSING", "/x-ms-runtime/keys", msg) if {
	not has_key("report")
	msg := "expected a key that will sign the run report, got none"
}
