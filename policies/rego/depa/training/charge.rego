# METADATA
# title: What a run is charged
# description: |
#   Each data set that is read privately has one charge, to the contract's consumer, for the
#   mechanism that the stage runs: its epsilon at most, its steps, its share of the units, and
#   enough noise.
package depa.training

import data.depa.lib

charged_names := sort([charge.dataset | some charge in input.charges])

# Every private stage with the charges for what it reads.
charged := [{"share": share, "stage": share.stage, "charge": charge} |
	some share in shares
	some charge in input.charges
	charge.dataset in share.stage.datasets
]

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
	some pair in charged
	pair.charge.microEpsilon > pair.stage.privacy.microEpsilon
	path := params(pair.stage, "epsilon")
	msg := sprintf("expected a charge of epsilon %v for %v at most, got %v", [
		lib.epsilon(pair.stage.privacy.microEpsilon),
		pair.charge.dataset,
		lib.epsilon(pair.charge.microEpsilon),
	])
}

deny contains lib.reason("MECHANISM_DIFFERS", path, msg) if {
	some pair in charged
	pair.charge.deltaTrillionths != pair.stage.privacy.deltaTrillionths
	path := params(pair.stage, "delta")
	msg := sprintf("expected a charge at delta %v for %v, got %v", [
		lib.delta(pair.stage.privacy.deltaTrillionths),
		pair.charge.dataset,
		lib.delta(pair.charge.deltaTrillionths),
	])
}

deny contains lib.reason("MECHANISM_DIFFERS", path, msg) if {
	some pair in charged
	pair.charge.steps != pair.stage.steps
	path := concat("", [pair.stage.path, "/config/steps"])
	msg := sprintf("expected a charge of %v steps for %v, got %v", [
		pair.stage.steps,
		pair.charge.dataset,
		pair.charge.steps,
	])
}

# The rate comes from a division in binary, the share from one of whole numbers.
deny contains lib.reason("MECHANISM_DIFFERS", path, msg) if {
	some pair in charged
	apart(pair.charge.samplingBillionths, pair.share.sampling)
	path := concat("", [pair.stage.path, "/config/batchSize"])
	msg := sprintf("expected a charge at a share of %v for %v, got %v", [
		lib.decimal(pair.share.sampling, 1000000000),
		pair.charge.dataset,
		lib.decimal(pair.charge.samplingBillionths, 1000000000),
	])
}

apart(left, right) if left > right + 1

apart(left, right) if right > left + 1

deny contains lib.reason("NOISE_TOO_SMALL", path, msg) if {
	some pair in charged
	some limit in input.contract.privacy
	limit.dataset == pair.charge.dataset
	pair.charge.noiseMicro < limit.minNoiseMicro
	path := params(pair.stage, "epsilon")
	msg := sprintf("a noise multiplier of %v planned, at least %v expected for data set %v", [
		lib.decimal(pair.charge.noiseMicro, 1000000),
		lib.decimal(limit.minNoiseMicro, 1000000),
		limit.dataset,
	])
}
