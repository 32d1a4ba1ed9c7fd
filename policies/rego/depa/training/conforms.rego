# METADATA
# title: Whether a pipeline is what nearly every pipeline is
# description: |
#   One stage that trains privately, alone or after a join of folders, over the contract's data sets in
#   the contract's order, within what is granted of all of them. Of such a pipeline no rule of
#   depa.pipeline denies or warns anything; of any other these are asked one by one. Where one of them
#   is made stricter, so is the question here.
package depa.training

dataset_list := [item.id | some item in input.contract.datasets]

conforms if {
	reads_as_agreed
	trains_as_granted
	costs_as_granted
}

reads_as_agreed if {
	data.depa.contract.agreed.tables == false
	input.pipeline.contract == input.contract.digest
	input.pipeline.foreignTexts == []
	is_joined_as_agreed
	every stage in input.pipeline.stages {
		stage.datasets == dataset_list
	}
	[file.id | some file in input.pipeline.inputs] == dataset_list
	[file.digest | some file in input.pipeline.inputs] == [item.digest | some item in input.contract.datasets]
	every file in input.pipeline.inputs {
		file.access == "read"
	}
}

is_joined_as_agreed if {
	names == ["Train_DL"]
	count(dataset_list) == 1
}

is_joined_as_agreed if {
	names == ["DirectoryJoin", "Train_DL"]
	data.depa.contract.agreed.tightest.join == true
}

trains_as_granted if {
	stage := training_stages[0]
	stage.model in input.contract.models
	has_graph
	every id in stage.baseWeights {
		id in base_models
	}
	stage.parameters <= input.contract.maxParameters
	stage.output in input.contract.outputs
	stage.losses != []
	every name in stage.losses {
		name in input.contract.losses
	}
	every metric in stage.metrics {
		metric.on == "public"
		metric.name in input.contract.metrics
	}
	stage.privateMetricsMicroEpsilon == 0
	stage.unitGradient == "mean"
	stage.batchCoupled == []
}

base_models := [item.id | some item in input.contract.baseModels]

has_graph if training_stages[0].model != "onnx"

has_graph if count(training_stages[0].baseWeights) > 0

# The tightest of all limits are stated where the terms are in order: ids are unique then, and every
# data set has units and limits.
costs_as_granted if {
	tightest := data.depa.contract.agreed.tightest
	stage := training_stages[0]
	stage.isPrivate == true
	stage.batchUnits <= tightest.sumUnits
	share := share_of(stage, tightest.sumUnits)
	share.epochs <= tightest.maxEpochs
	share.sampling <= tightest.maxSamplingBillionths
	stage.steps <= tightest.maxSteps
	stage.samplesPerUnit <= tightest.maxSamplesPerUnit
	asked := stage.privacy
	asked.microEpsilon > 0
	asked.microEpsilon <= tightest.microEpsilon
	asked.deltaTrillionths > 0
	asked.deltaTrillionths <= tightest.deltaTrillionths
	asked.deltaTrillionths * tightest.mostUnits < 1000000000000
	asked.maxGradNormMicro > 0
	asked.maxGradNormMicro <= tightest.maxGradNormMicro
	[asked.unit] == tightest.unit
	[asked.adjacency] == tightest.adjacency
	[charge.dataset | some charge in input.charges] == dataset_list
	every charge in input.charges {
		charge.tdc == input.contract.tdc
		charge.noiseMicro >= tightest.minNoiseMicro
		charge.microEpsilon <= asked.microEpsilon
		charge.deltaTrillionths == asked.deltaTrillionths
		charge.steps == stage.steps
		charge.samplingBillionths == share.sampling
		charge.metricsNoiseMicro == 0
	}
	# A budget of which a tenth is left is not warned of.
	[budget.dataset | some budget in input.budgets] == dataset_list
	every budget in input.budgets {
		budget.tdcAfter * 10 <= tightest.totalMicroEpsilon * 9
		budget.overallAfter <= tightest.overallMicroEpsilon
	}
}

deny contains found if {
	not conforms
	some found in data.depa.pipeline.deny
}

warn contains found if {
	not conforms
	some found in data.depa.pipeline.warn
}
