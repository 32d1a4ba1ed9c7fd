# METADATA
# title: Whether a pipeline may run under a contract
# description: |
#   The contract must hold and be executed; then every stage is judged against the limits of every
#   data set that it reads, and against what is left of their budgets. Reasons about the contract
#   stand under /contract.
package depa.training

import data.depa.lib

# METADATA
# title: Decision about a pipeline
# entrypoint: true
# scope: document
decision := {"allow": allow, "reasons": reasons, "warnings": warnings, "policy": data.depa.lib.identity}

default allow := false

allow if {
	complete
	count(deny) == 0
}

# Facts that lack a field are not judged: no rule meets a value of a type that it does not expect.
reasons := deny if complete

reasons := incomplete if not complete

warnings := {warning | complete; some warning in warn}

incomplete contains lib.reason("FACTS_INCOMPLETE", "", msg) if {
	msg := "expected complete facts about a pipeline; a field is missing or of another type"
}

deny contains under_contract if {
	some found in data.depa.contract.deny
	under_contract := lib.reason(found.code, concat("", ["/contract", found.path]), found.msg)
}

warn contains under_contract if {
	some found in data.depa.contract.warn
	under_contract := lib.reason(found.code, concat("", ["/contract", found.path]), found.msg)
}

executed if input.executed == true

deny contains lib.reason("CONTRACT_NOT_EXECUTED", "/contract", msg) if {
	not executed
	msg := "expected a contract that all parties have signed on the ledger, got one that is not executed"
}

deny contains lib.reason("OTHER_CONTRACT", "/contract", msg) if {
	input.pipeline.contract != input.contract.digest
	msg := sprintf("expected contract %v, got %v", [input.contract.digest, input.pipeline.contract])
}

complete if {
	data.depa.contract.complete
	lib.is_digest(input.pipeline.digest)
	lib.is_text(input.pipeline.contract)
	is_array(input.pipeline.stages)
	count(input.pipeline.stages) > 0
	every stage in input.pipeline.stages {
		stage_complete(stage)
	}
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

stage_complete(stage) if {
	stage.name == "DirectoryJoin"
	lib.is_text(stage.path)
	lib.is_texts(stage.datasets)
}

stage_complete(stage) if {
	stage.name == "TableJoin"
	lib.is_text(stage.path)
	data.depa.tables.complete
}

stage_complete(stage) if {
	stage.name == "Train_DL"
	stage.path > ""
	stage.path < []
	lib.is_texts(stage.datasets)
	stage.model > ""
	stage.model < []
	lib.is_whole(stage.parameters)
	lib.is_texts(stage.baseWeights)
	lib.is_texts(stage.batchCoupled)
	lib.is_whole(stage.steps)
	lib.is_whole(stage.batchUnits)
	lib.is_whole(stage.samplesPerUnit)
	stage.unitGradient > ""
	stage.unitGradient < []
	lib.is_texts(stage.losses)
	stage.output > ""
	stage.output < []
	is_array(stage.metrics)
	every metric in stage.metrics {
		metric.name > ""
		metric.name < []
		metric.on > ""
		metric.on < []
	}
	privacy_complete(stage)
}

# What cannot be judged is refused elsewhere, as what it is.
stage_complete(stage) if {
	name := stage.name
	not is_stage(name)
	lib.is_text(name)
	stage.path > ""
	stage.path < []
}

privacy_complete(stage) if stage.isPrivate == false

privacy_complete(stage) if {
	stage.isPrivate == true
	not states_privacy(stage)
}

privacy_complete(stage) if {
	stage.isPrivate == true
	lib.is_spend(stage.privacy)
	lib.is_whole(stage.privacy.maxGradNormMicro)
	stage.privacy.unit > ""
	stage.privacy.unit < []
	stage.privacy.adjacency > ""
	stage.privacy.adjacency < []
}
