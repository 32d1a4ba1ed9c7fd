# METADATA
# title: Claims about hardware and software
package depa.attestation

import data.depa.lib

terms := input.contract.attestation

claims := input.claims

# Clocks of the authority may run ahead of ours by this many microseconds.
skew := 30000000

is_authority(issuer) if issuer in terms.authorities

is_compliant(status) if status in terms.compliance

is_launch_policy(digest) if digest in terms.hostData

# A contract that lists no measurements leaves them to whoever endorses the guest.
is_measurement(digest) if {
	is_string(digest)
	count(terms.measurements) == 0
}

is_measurement(digest) if digest in terms.measurements

# Claim of each part of the processor's firmware.
firmware := {
	"bootloader": "/x-ms-sevsnpvm-bootloader-svn",
	"tee": "/x-ms-sevsnpvm-tee-svn",
	"snp": "/x-ms-sevsnpvm-snpfw-svn",
	"microcode": "/x-ms-sevsnpvm-microcode-svn",
}

is_locked if claims.debuggable == false

stays_put if claims.migratable == false

deny contains lib.reason("EVIDENCE_ISSUER", "/iss", msg) if {
	issuer := claims.issuer
	not is_authority(issuer)
	msg := sprintf("expected a token of %v, got one of %v", [lib.listing(terms.authorities), issuer])
}

deny contains lib.reason("EVIDENCE_TYPE", "/x-ms-attestation-type", msg) if {
	claims.type != "sevsnpvm"
	msg := sprintf("expected sevsnpvm, got %v", [claims.type])
}

deny contains lib.reason("EVIDENCE_COMPLIANCE", "/x-ms-compliance-status", msg) if {
	status := claims.compliance
	not is_compliant(status)
	msg := sprintf("expected one of %v, got %v", [lib.listing(terms.compliance), status])
}

deny contains lib.reason("EVIDENCE_DEBUGGABLE", "/x-ms-sevsnpvm-is-debuggable", msg) if {
	not is_locked
	msg := "expected a guest that cannot be debugged, got one that can"
}

deny contains lib.reason("EVIDENCE_MIGRATABLE", "/x-ms-sevsnpvm-migration-allowed", msg) if {
	not stays_put
	msg := "expected a guest that cannot be migrated, got one that can"
}

deny contains lib.reason("EVIDENCE_VMPL", "/x-ms-sevsnpvm-vmpl", msg) if {
	claims.vmpl != 0
	msg := sprintf("expected privilege level 0, got %v", [claims.vmpl])
}

deny contains lib.reason("EVIDENCE_HOST_DATA", "/x-ms-sevsnpvm-hostdata", msg) if {
	digest := claims.hostData
	not is_launch_policy(digest)
	msg := sprintf("expected launch policy %v, got %v", [lib.listing(terms.hostData), digest])
}

deny contains lib.reason("EVIDENCE_GUEST_SVN", "/x-ms-sevsnpvm-guestsvn", msg) if {
	claims.guestSvn < terms.minimumGuestSvn
	msg := sprintf("expected guest version %v or later, got %v", [terms.minimumGuestSvn, claims.guestSvn])
}

deny contains lib.reason("EVIDENCE_TCB", path, msg) if {
	some part, path in firmware
	claims.tcb[part] < terms.minimumTcb[part]
	msg := sprintf("expected %v version %v or later, got %v", [part, terms.minimumTcb[part], claims.tcb[part]])
}

deny contains lib.reason("EVIDENCE_MEASUREMENT", "/x-ms-sevsnpvm-launchmeasurement", msg) if {
	digest := claims.measurement
	not is_measurement(digest)
	msg := sprintf("expected a launch measurement that the contract lists, got %v", [digest])
}

deny contains lib.reason("EVIDENCE_FROM_FUTURE", "/iat", msg) if {
	claims.issuedAt > input.now + skew
	msg := sprintf("expected issued before %v, got %v", [lib.instant(input.now), lib.instant(claims.issuedAt)])
}

deny contains lib.reason("EVIDENCE_TOO_OLD", "/iat", msg) if {
	input.now - claims.issuedAt > terms.maxTokenAge
	msg := sprintf("expected a token of the last %v s, got one of %v", [
		lib.seconds(terms.maxTokenAge),
		lib.instant(claims.issuedAt),
	])
}

deny contains lib.reason("EVIDENCE_EXPIRED", "/exp", msg) if {
	input.now >= claims.expiresAt
	msg := sprintf("expired at %v, presented at %v", [lib.instant(claims.expiresAt), lib.instant(input.now)])
}
