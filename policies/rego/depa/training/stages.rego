# METADATA
# title: The stages of a pipeline
# description: Which of them train, which of these privately, and what share of the units one takes.
package depa.training

names := [stage.name | some stage in input.pipeline.stages]

folder_stages := [stage | some stage in input.pipeline.stages; stage.name == "DirectoryJoin"]

training_stages := [stage | some stage in input.pipeline.stages; stage.name == "Train_DL"]

private_stages := [stage | some stage in training_stages; stage.isPrivate == true]

joins_tables if "TableJoin" in names

tables_complete if not joins_tables

tables_complete if {
	joins_tables
	data.depa.tables.complete
}

# Quotients are rounded up: what is asked never looks smaller than it is.
share_of(stage, units) := {"stage": stage, "epochs": epochs, "sampling": sampling} if {
	units > 0
	taken := ((stage.steps * stage.batchUnits) + units) - 1
	epochs := (taken - (taken % units)) / units
	drawn := ((stage.batchUnits * 1000000000) + units) - 1
	sampling := (drawn - (drawn % units)) / units
}
