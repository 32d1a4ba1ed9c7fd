# METADATA
# title: Which limit a stage passes
# description: |
#   Each private stage is compared with the limits of each data set it reads, never with a mean or a
#   minimum.
package depa.pipeline

import data.depa.lib

deny contains lib.reason("EPSILON_EXCEEDED", path, msg) if {
	some stage in data.depa.training.private_stages
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
	some stage in data.depa.training.private_stages
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

deny contains lib.reason("UNIT_MISMATCH", path, msg) if {
	some stage in data.depa.training.private_stages
	some limit in input.contract.privacy
	stage.privacy.unit != limit.unit
	limit.dataset in stage.datasets
	path := params(stage, "unit")
	msg := sprintf("unit %v asked, expected %v for data set %v", [stage.privacy.unit, limit.unit, limit.dataset])
}

deny contains lib.reason("ADJACENCY_MISMATCH", path, msg) if {
	some stage in data.depa.training.private_stages
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
	some stage in data.depa.training.private_stages
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

deny contains lib.reason("EPOCHS_EXCEEDED", path, msg) if {
	some share in shares
	some limit in input.contract.privacy
	share.epochs > limit.maxEpochs
	limit.dataset in share.stage.datasets
	path := concat("", [share.stage.path, "/config/steps"])
	msg := sprintf("%v epochs asked, at most %v granted for data set %v", [share.epochs, limit.maxEpochs, limit.dataset])
}

deny contains lib.reason("SAMPLING_RATE_EXCEEDED", path, msg) if {
	some share in shares
	some limit in input.contract.privacy
	share.sampling > limit.maxSamplingBillionths
	limit.dataset in share.stage.datasets
	path := concat("", [share.stage.path, "/config/batchSize"])
	msg := sprintf("a share of %v of the units asked in a step, at most %v granted for data set %v", [
		lib.decimal(share.sampling, 1000000000),
		lib.decimal(limit.maxSamplingBillionths, 1000000000),
		limit.dataset,
	])
}

deny contains lib.reason("SAMPLES_PER_UNIT_EXCEEDED", path, msg) if {
	some stage in data.depa.training.private_stages
	some limit in input.contract.privacy
	stage.samplesPerUnit > limit.maxSamplesPerUnit
	limit.dataset in stage.datasets
	path := concat("", [stage.path, "/config/samplesPerUnit"])
	msg := sprintf("%v samples of a unit asked in a step, at most %v granted for data set %v", [
		stage.samplesPerUnit,
		limit.maxSamplesPerUnit,
		limit.dataset,
	])
}

deny contains lib.reason("STEPS_EXCEEDED", path, msg) if {
	some stage in data.depa.training.private_stages
	some limit in input.contract.privacy
	stage.steps > limit.maxSteps
	limit.dataset in stage.datasets
	path := concat("", [stage.path, "/config/steps"])
	msg := sprintf("%v steps asked, at most %v granted for data set %v", [
		stage.steps,
		limit.maxSteps,
		limit.dataset,
	])
}
