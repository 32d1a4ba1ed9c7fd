# METADATA
# title: Stages and the data they read
# description: A closed list in one of three orders, over exactly the data sets of the contract.
package depa.pipeline

import data.depa.lib

# The first stage says what is read; those after it get what it hands on.
source := input.pipeline.stages[0]

source_ids := {id | some id in source.datasets}

source_path := sprintf("%v/config/%v", [source.path, source_field])

source_field := "datasets" if joins_folders

source_field := "tables" if {
	not joins_folders
	data.depa.training.joins_tables
}

source_field := "input" if not joined

joins_folders if "DirectoryJoin" in data.depa.training.names

joined if joins_folders

joined if data.depa.training.joins_tables

legal_order if data.depa.training.names in [["DirectoryJoin", "Train_DL"], ["TableJoin", "Train_DL"], ["Train_DL"]]

is_stage(name) if name in {"DirectoryJoin", "TableJoin", "Train_DL"}

deny contains lib.reason("OTHER_CONTRACT", "/contract", msg) if {
	input.pipeline.contract != input.contract.digest
	msg := sprintf("expected contract %v, got %v", [input.contract.digest, input.pipeline.contract])
}

deny contains lib.reason("STAGE_UNKNOWN", path, msg) if {
	some stage in input.pipeline.stages
	name := stage.name
	not is_stage(name)
	path := sprintf("%v/name", [stage.path])
	msg := sprintf("expected DirectoryJoin, TableJoin or Train_DL, got %v", [name])
}

deny contains lib.reason("STAGE_ORDER", "/pipeline", msg) if {
	not legal_order
	msg := sprintf("expected Train_DL, alone or after DirectoryJoin or TableJoin, got %v", [concat(" then ", data.depa.training.names)])
}

deny contains lib.reason("STAGE_INPUT_DIFFERS", stage.path, msg) if {
	some stage in input.pipeline.stages
	stage.datasets != source.datasets
	msg := sprintf("expected to read %v as the first stage does, got %v", [
		lib.listing(source.datasets),
		lib.listing(stage.datasets),
	])
}

deny contains lib.reason("DATASET_NOT_IN_CONTRACT", source_path, msg) if {
	some id in source_ids - data.depa.agreed.dataset_ids
	msg := sprintf("expected data sets of the contract (%v), got %v", [lib.listing(data.depa.agreed.dataset_ids), id])
}

deny contains lib.reason("DATASET_NOT_USED", source_path, msg) if {
	some id in data.depa.agreed.dataset_ids - source_ids
	msg := sprintf("expected all data sets of the contract, got them without %v", [id])
}

deny contains lib.reason("DATASET_REPEATED", source_path, msg) if {
	count(source_ids) < count(source.datasets)
	msg := sprintf("expected each data set once, got %v names of %v data sets", [count(source.datasets), count(source_ids)])
}

deny contains lib.reason("JOIN_MISSING", source_path, msg) if {
	not joined
	count(source_ids) > 1
	msg := sprintf("expected a DirectoryJoin or TableJoin of %v before training, got none", [lib.listing(source_ids)])
}

deny contains lib.reason("JOIN_NOT_ALLOWED", source_path, msg) if {
	joined
	count(source_ids) > 1
	some use in input.contract.dataUse
	use.join != true
	use.dataset in source_ids
	msg := sprintf("data set %v may not be joined with others, got a join of %v", [use.dataset, lib.listing(source_ids)])
}
