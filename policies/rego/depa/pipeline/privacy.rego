# METADATA
# title: What a pipeline may cost the people in the data
# description: Where data is only read privately, and what a private stage has to state.
package depa.pipeline

import data.depa.lib

is_private_stage(stage) if stage.isPrivate == true

states_privacy(stage) if is_object(stage.privacy)

params(stage, field) := concat("", [stage.path, "/config/privacyParams/", field])

deny contains lib.reason("PRIVACY_REQUIRED", path, msg) if {
	some stage in data.depa.training.training_stages
	not is_private_stage(stage)
	some use in input.contract.dataUse
	use.dataset in stage.datasets
	use.privateOnly != false
	path := concat("", [stage.path, "/config/isPrivate"])
	msg := sprintf("data set %v may only be read with differential privacy, got a stage without", [use.dataset])
}

deny contains lib.reason("PRIVACY_PARAMS_MISSING", path, msg) if {
	some stage in data.depa.training.private_stages
	not states_privacy(stage)
	path := concat("", [stage.path, "/config/privacyParams"])
	msg := "expected epsilon, delta and a clipping norm of a private stage, got none"
}

deny contains lib.reason("PRIVACY_NOT_POSITIVE", path, msg) if {
	some stage in data.depa.training.private_stages
	some field, name in {"microEpsilon": "epsilon", "deltaTrillionths": "delta", "maxGradNormMicro": "maxGradNorm"}
	stage.privacy[field] <= 0
	path := params(stage, name)
	msg := sprintf("expected %v above zero, got none", [name])
}

deny contains lib.reason("DELTA_GRANTS_A_RECORD", path, msg) if {
	some stage in data.depa.training.private_stages
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
