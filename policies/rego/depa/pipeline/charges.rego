# METADATA
# title: What a run is charged
# description: |
#   Each data set that is read privately has one charge, to the contract's consumer, for the mechanism
#   that the stage runs: its epsilon at most, its steps, its share of the units, and enough noise.
package depa.pipeline

import data.depa.lib

charged_names := sort([charge.dataset | some charge in input.charges])

deny contains lib.reason("CHARGES_DIFFER", "/pipeline", msg) if {
	charged_names != sort(charged_ids)
	msg := sprintf("expected one charge for each data set that is read privately (%v), got charges for %v", [
		lib.listing(charged_ids),
		lib.listing(charged_names),
	])
}

deny contains lib.reason("CHARGE_OF_OTHER_CONSUMER", "/pipeline", msg) if {
	some charge in input.charges
	charge.tdc != input.contract.tdc
	msg := sprintf("expected %v to be charged for %v, got %v", [input.contract.tdc, charge.dataset, charge.tdc])
}

deny contains lib.reason("MECHANISM_DIFFERS", path, msg) if {
	some share in shares
	some charge in input.charges
	charge.microEpsilon > share.stage.privacy.microEpsilon
	charge.dataset in share.stage.datasets
	path := params(share.stage, "epsilon")
	msg := sprintf("expected a charge of epsilon %v for %v at most, got %v", [
		lib.epsilon(share.stage.privacy.microEpsilon),
		charge.dataset,
		lib.epsilon(charge.microEpsilon),
	])
}

deny contains lib.reason("MECHANISM_DIFFERS", path, msg) if {
	some share in shares
	some charge in input.charges
	charge.deltaTrillionths != share.stage.privacy.deltaTrillionths
	charge.dataset in share.stage.datasets
	path := params(share.stage, "delta")
	msg := sprintf("expected a charge at delta %v for %v, got %v", [
		lib.delta(share.stage.privacy.deltaTrillionths),
		charge.dataset,
		lib.delta(charge.deltaTrillionths),
	])
}

deny contains lib.reason("MECHANISM_DIFFERS", path, msg) if {
	some share in shares
	some charge in input.charges
	charge.steps != share.stage.steps
	charge.dataset in share.stage.datasets
	path := concat("", [share.stage.path, "/config/steps"])
	msg := sprintf("expected a charge of %v steps for %v, got %v", [
		share.stage.steps,
		charge.dataset,
		charge.steps,
	])
}

# The rate comes from a division in binary, the share from one of whole numbers.
deny contains lib.reason("MECHANISM_DIFFERS", path, msg) if {
	some share in shares
	some charge in input.charges
	apart(charge.samplingBillionths, share.sampling)
	charge.dataset in share.stage.datasets
	path := concat("", [share.stage.path, "/config/batchSize"])
	msg := sprintf("expected a charge at a share of %v for %v, got %v", [
		lib.decimal(share.sampling, 1000000000),
		charge.dataset,
		lib.decimal(charge.samplingBillionths, 1000000000),
	])
}

deny contains lib.reason("NOISE_TOO_SMALL", path, msg) if {
	some share in shares
	some charge in input.charges
	charge.dataset in share.stage.datasets
	some limit in input.contract.privacy
	limit.dataset == charge.dataset
	charge.noiseMicro < limit.minNoiseMicro
	path := params(share.stage, "epsilon")
	msg := sprintf("a noise multiplier of %v planned, at least %v expected for data set %v", [
		lib.decimal(charge.noiseMicro, 1000000),
		lib.decimal(limit.minNoiseMicro, 1000000),
		limit.dataset,
	])
}

apart(left, right) if left > right + 1

apart(left, right) if right > left + 1
