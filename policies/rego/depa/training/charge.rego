# METADATA
# title: What a run is charged
# description: Each data set that is read privately has one charge, for the mechanism that the stage runs.
package depa.training

import data.depa.lib

charged_names := sort([charge.dataset | some charge in input.charges])

deny contains lib.reason("CHARGES_DIFFER", "/pipeline", msg) if {
	charged_names != sort(charged_ids)
	msg := sprintf("expected one charge for each data set that is read privately (%v), got charges for %v", [
		lib.listing(charged_ids),
		lib.listing(charged_names),
	])
}

# The most noise that any data set asks for; a charge with as much needs no closer look.
most_noise := max([limit.minNoiseMicro | some limit in input.contract.privacy])

# Every charge is for the mechanism that every private stage runs, and for enough noise.
charges_agree if {
	every charge in input.charges {
		charge.tdc == input.contract.tdc
		charge.noiseMicro >= most_noise
	}
	every share in shares {
		every charge in input.charges {
			charge.microEpsilon <= share.stage.privacy.microEpsilon
			charge.deltaTrillionths == share.stage.privacy.deltaTrillionths
			charge.steps == share.stage.steps
			charge.samplingBillionths == share.sampling
		}
	}
}

deny contains found if {
	not charges_agree
	some found in data.depa.charges.deny
}
