# METADATA
# title: What a pipeline may cost the people in the data
# description: Each private stage is compared with the limits of each data set it reads, never with a mean or a minimum.
package depa.training

import data.depa.lib

training_stages := [stage | some stage in input.pipeline.stages; stage.name == "Train_DL"]

is_private_stage(stage) if stage.isPrivate == true

states_privacy(stage) if is_object(stage.privacy)

private_stages := [stage | some stage in training_stages; stage.isPrivate == true]

# Every private stage with the limits of every data set that it reads.
limited := [{"stage": stage, "asked": stage.privacy, "limit": limit} |
	some stage in private_stages
	some limit in input.contract.privacy
	limit.dataset in stage.datasets
]

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

deny contains lib.reason("EPSILON_EXCEEDED", path, msg) if {
	some pair in limited
	pair.asked.microEpsilon > pair.limit.run.microEpsilon
	path := params(pair.stage, "epsilon")
	msg := sprintf("epsilon %v asked, at most %v granted for data set %v", [
		lib.epsilon(pair.asked.microEpsilon),
		lib.epsilon(pair.limit.run.microEpsilon),
		pair.limit.dataset,
	])
}

deny contains lib.reason("DELTA_EXCEEDED", path, msg) if {
	some pair in limited
	pair.asked.deltaTrillionths > pair.limit.run.deltaTrillionths
	path := params(pair.stage, "delta")
	msg := sprintf("delta %v asked, at most %v granted for data set %v", [
		lib.delta(pair.asked.deltaTrillionths),
		lib.delta(pair.limit.run.deltaTrillionths),
		pair.limit.dataset,
	])
}

deny contains lib.reason("DELTA_GRANTS_A_RECORD", path, msg) if {
	some stage in private_stages
	some item in input.contract.datasets
	item.id in stage.datasets
	lib.grants_a_record(stage.privacy.deltaTrillionths, item.units)
	path := params(stage, "delta")
	msg := sprintf("delta %v asked, expected below 1/%v, one over the units of data set %v", [
		lib.delta(stage.privacy.deltaTrillionths),
		item.units,
		item.id,
	])
}

deny contains lib.reason("UNIT_MISMATCH", path, msg) if {
	some pair in limited
	pair.asked.unit != pair.limit.unit
	path := params(pair.stage, "unit")
	msg := sprintf("unit %v asked, expected %v for data set %v", [pair.asked.unit, pair.limit.unit, pair.limit.dataset])
}

deny contains lib.reason("ADJACENCY_MISMATCH", path, msg) if {
	some pair in limited
	pair.asked.adjacency != pair.limit.adjacency
	path := params(pair.stage, "adjacency")
	msg := sprintf("adjacency %v asked, expected %v for data set %v", [
		pair.asked.adjacency,
		pair.limit.adjacency,
		pair.limit.dataset,
	])
}

deny contains lib.reason("GRAD_NORM_EXCEEDED", path, msg) if {
	some pair in limited
	pair.asked.maxGradNormMicro > pair.limit.maxGradNormMicro
	path := params(pair.stage, "maxGradNorm")
	msg := sprintf("clipping norm %v asked, at most %v granted for data set %v", [
		lib.norm(pair.asked.maxGradNormMicro),
		lib.norm(pair.limit.maxGradNormMicro),
		pair.limit.dataset,
	])
}
