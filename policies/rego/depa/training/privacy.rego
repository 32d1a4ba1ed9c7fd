# METADATA
# title: What a pipeline may cost the people in the data
# description: What a private stage has to state, and whether it is within the limits of the data sets.
package depa.training

import data.depa.lib

training_stages := [stage | some stage in input.pipeline.stages; stage.name == "Train_DL"]

is_private_stage(stage) if stage.isPrivate == true

states_privacy(stage) if is_object(stage.privacy)

private_stages := [stage | some stage in training_stages; stage.isPrivate == true]

# Within the limits of every data set of the contract, and so of those that are read.
within_limits if {
	every stage in private_stages {
		every limit in input.contract.privacy {
			stage.privacy.microEpsilon <= limit.run.microEpsilon
			stage.privacy.deltaTrillionths <= limit.run.deltaTrillionths
			stage.privacy.maxGradNormMicro <= limit.maxGradNormMicro
			stage.privacy.unit == limit.unit
			stage.privacy.adjacency == limit.adjacency
			stage.steps <= limit.maxSteps
			stage.samplesPerUnit <= limit.maxSamplesPerUnit
		}
	}
	every share in shares {
		every limit in input.contract.privacy {
			share.epochs <= limit.maxEpochs
			share.sampling <= limit.maxSamplingBillionths
		}
	}
}

deny contains found if {
	not within_limits
	some found in data.depa.limits.deny
}

params(stage, field) := concat("", [stage.path, "/config/privacyParams/", field])

deny contains lib.reason("PRIVACY_REQUIRED", path, msg) if {
	some stage in training_stages
	not is_private_stage(stage)
	some use in input.contract.dataUse
	use.dataset in stage.datasets
	use.privateOnly != false
	path := concat("", [stage.path, "/config/isPrivate"])
	msg := sprintf("data set %v may only be read with differential privacy, got a stage without", [use.dataset])
}

deny contains lib.reason("PRIVACY_PARAMS_MISSING", path, msg) if {
	some stage in private_stages
	not states_privacy(stage)
	path := concat("", [stage.path, "/config/privacyParams"])
	msg := "expected epsilon, delta and a clipping norm of a private stage, got none"
}

deny contains lib.reason("PRIVACY_NOT_POSITIVE", path, msg) if {
	some stage in private_stages
	some field, name in {"microEpsilon": "epsilon", "deltaTrillionths": "delta", "maxGradNormMicro": "maxGradNorm"}
	stage.privacy[field] <= 0
	path := params(stage, name)
	msg := sprintf("expected %v above zero, got none", [name])
}

deny contains lib.reason("DELTA_GRANTS_A_RECORD", path, msg) if {
	some stage in private_stages
	lib.grants_a_record(stage.privacy.deltaTrillionths, max([item.units | some item in input.contract.datasets]))
	some item in input.contract.datasets
	lib.grants_a_record(stage.privacy.deltaTrillionths, item.units)
	item.id in stage.datasets
	path := params(stage, "delta")
	msg := sprintf("delta %v asked, expected below 1/%v, one over the units of data set %v", [
		lib.delta(stage.privacy.deltaTrillionths),
		item.units,
		item.id,
	])
}
