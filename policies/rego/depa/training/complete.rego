# METADATA
# title: Whether the facts about a pipeline are all there
# description: |
#   Every field that some rule compares has its type. Comparisons instead of predicates, see depa.lib:
#   this runs for every decision.
package depa.training

import data.depa.lib

complete if {
	data.depa.contract.complete
	lib.is_digest(input.pipeline.digest)
	lib.is_text(input.pipeline.contract)
	is_array(input.pipeline.stages)
	count(input.pipeline.stages) > 0
	every stage in input.pipeline.stages {
		stage.name > ""
		stage.name < []
		stage.path > ""
		stage.path < []
	}
	every stage in folder_stages {
		lib.is_texts(stage.datasets)
	}
	tables_complete
	training_complete
	lib.is_texts(input.pipeline.foreignTexts)
	is_array(input.pipeline.inputs)
	every file in input.pipeline.inputs {
		file.id >= ""
		file.id < []
		file.digest >= ""
		file.digest < []
		file.access >= ""
		file.access < []
	}
	is_array(input.charges)
	every charge in input.charges {
		charge.dataset >= ""
		charge.dataset < []
		charge.tdc >= ""
		charge.tdc < []
		charge.microEpsilon >= 0
		charge.microEpsilon <= 9007199254740991
		charge.deltaTrillionths >= 0
		charge.deltaTrillionths <= 9007199254740991
		charge.noiseMicro >= 0
		charge.noiseMicro <= 9007199254740991
		charge.samplingBillionths >= 0
		charge.samplingBillionths <= 9007199254740991
		charge.steps >= 0
		charge.steps <= 9007199254740991
		charge.metricsNoiseMicro >= 0
		charge.metricsNoiseMicro <= 9007199254740991
	}
	is_array(input.budgets)
	every budget in input.budgets {
		budget.dataset >= ""
		budget.dataset < []
		budget.tdcAfter >= 0
		budget.tdcAfter <= 9007199254740991
		budget.overallAfter >= 0
		budget.overallAfter <= 9007199254740991
	}
}

# What cannot be judged is refused elsewhere, as what it is.
training_complete if {
	every stage in training_stages {
		is_boolean(stage.isPrivate)
		every texts in [stage.datasets, stage.baseWeights, stage.batchCoupled, stage.losses] {
			is_array(texts)
			every text in texts {
				text > ""
				text < []
			}
		}
		every text in [stage.model, stage.unitGradient, stage.output] {
			text > ""
			text < []
		}
		every number in [
			stage.parameters, stage.steps, stage.batchUnits, stage.samplesPerUnit,
			stage.privateMetricsMicroEpsilon,
		] {
			number >= 0
			number <= 9007199254740991
			floor(number) == number
		}
		is_array(stage.metrics)
		every metric in stage.metrics {
			metric.name > ""
			metric.name < []
			metric.on > ""
			metric.on < []
		}
	}
	every asked in asked_privacy {
		every number in [asked.microEpsilon, asked.deltaTrillionths, asked.maxGradNormMicro] {
			number >= 0
			number <= 9007199254740991
			floor(number) == number
		}
		asked.unit > ""
		asked.unit < []
		asked.adjacency > ""
		asked.adjacency < []
	}
}

# A private stage that states nothing is refused as that.
asked_privacy := [stage.privacy | some stage in private_stages; is_object(stage.privacy)]
