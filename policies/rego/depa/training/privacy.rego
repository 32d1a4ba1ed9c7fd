# METADATA
# title: What a pipeline may cost the people in the data
# description: |
#   Each private stage is compared with the limits of each data set it reads, never with a mean or a
#   minimum. Numbers come before names in a rule: nearly always they end it.
package depa.training

import data.depa.lib

training_stages := [stage | some stage in input.pipeline.stages; stage.name == "Train_DL"]

is_private_stage(stage) if stage.isPrivate == true

states_privacy(stage) if is_object(stage.privacy)

private_stages := [stage | some stage in training_stages; stage.isPrivate == true]

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
	some stage in private_stages
	some limit in input.contract.privacy
	stage.privacy.microEpsilon > limit.run.microEpsilon
	limit.dataset in stage.datasets
	path := params(stage, "epsilon")
	msg := sprintf("epsilon %v asked, at most %v granted for data set %v", [
		lib.epsilon(stage.privacy.microEpsilon),
		lib.epsilon(limit.run.microEpsilon),
		limit.dataset,
	])
}

deny contains lib.reason("DELTA_EXCEEDED", path, msg) if {
	some stage in private_stages
	some limit in input.contract.privacy
	stage.privacy.deltaTrillionths > limit.run.deltaTrillionths
	limit.dataset in stage.datasets
	path := params(stage, "delta")
	msg := sprintf("delta %v asked, at most %v granted for data set %v", [
		lib.delta(stage.privacy.deltaTrillionths),
		lib.delta(limit.run.deltaTrillionths),
		limit.dataset,
	])
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

deny contains lib.reason("UNIT_MISMATCH", path, msg) if {
	some stage in private_stages
	some limit in input.contract.privacy
	stage.privacy.unit != limit.unit
	limit.dataset in stage.datasets
	path := params(stage, "unit")
	msg := sprintf("unit %v asked, expected %v for data set %v", [stage.privacy.unit, limit.unit, limit.dataset])
}

deny contains lib.reason("ADJACENCY_MISMATCH", path, msg) if {
	some stage in private_stages
	some limit in input.contract.privacy
	stage.privacy.adjacency != limit.adjacency
	limit.dataset in stage.datasets
	path := params(stage, "adjacency")
	msg := sprintf("adjacency %v asked, expected %v for data set %v", [
		stage.privacy.adjacency,
		limit.adjacency,
		limit.dataset,
	])
}

deny contains lib.reason("GRAD_NORM_EXCEEDED", path, msg) if {
	some stage in private_stages
	some limit in input.contract.privacy
	stage.privacy.maxGradNormMicro > limit.maxGradNormMicro
	limit.dataset in stage.datasets
	path := params(stage, "maxGradNorm")
	msg := sprintf("clipping norm %v asked, at most %v granted for data set %v", [
		lib.norm(stage.privacy.maxGradNormMicro),
		lib.norm(limit.maxGradNormMicro),
		limit.dataset,
	])
}
