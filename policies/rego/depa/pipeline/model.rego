# METADATA
# title: What is trained, and what comes of it
package depa.pipeline

import data.depa.lib

is_allowed_model(kind) if kind in input.contract.models

is_granted_loss(name) if name in input.contract.losses

is_granted_output(format) if format in input.contract.outputs

is_base_model(id) if {
	some item in input.contract.baseModels
	item.id == id
}

deny contains lib.reason("MODEL_NOT_ALLOWED", path, msg) if {
	some stage in data.depa.training.training_stages
	kind := stage.model
	not is_allowed_model(kind)
	path := concat("", [stage.path, "/config/model/kind"])
	msg := sprintf("expected one of %v, got %v", [lib.listing(input.contract.models), kind])
}

deny contains lib.reason("PARAMETERS_EXCEEDED", path, msg) if {
	some stage in data.depa.training.training_stages
	stage.parameters > input.contract.maxParameters
	path := concat("", [stage.path, "/config/model"])
	msg := sprintf("%v parameters asked, at most %v granted", [stage.parameters, input.contract.maxParameters])
}

deny contains lib.reason("BASE_WEIGHTS_UNKNOWN", path, msg) if {
	some stage in data.depa.training.training_stages
	some id in stage.baseWeights
	not is_base_model(id)
	path := concat("", [stage.path, "/config/baseWeights"])
	msg := sprintf("expected a base model of the contract, got %v", [id])
}

deny contains lib.reason("BASE_WEIGHTS_MISSING", path, msg) if {
	some stage in data.depa.training.training_stages
	stage.model == "onnx"
	count(stage.baseWeights) == 0
	path := concat("", [stage.path, "/config/baseWeights"])
	msg := "expected the base model that holds the graph, got none"
}

deny contains lib.reason("LOSS_NOT_ALLOWED", path, msg) if {
	some stage in data.depa.training.training_stages
	some name in stage.losses
	not is_granted_loss(name)
	path := concat("", [stage.path, "/config/loss"])
	msg := sprintf("expected one of %v, got %v", [lib.listing(input.contract.losses), name])
}

deny contains lib.reason("LOSS_MISSING", path, msg) if {
	some stage in data.depa.training.training_stages
	count(stage.losses) == 0
	path := concat("", [stage.path, "/config/loss"])
	msg := "expected a loss, got none"
}

deny contains lib.reason("OUTPUT_NOT_ALLOWED", path, msg) if {
	some stage in data.depa.training.training_stages
	output := stage.output
	not is_granted_output(output)
	path := concat("", [stage.path, "/config/output"])
	msg := sprintf("expected one of %v, got %v", [lib.listing(input.contract.outputs), output])
}
