# METADATA
# title: How much one unit may contribute
# description: |
#   Steps, epochs, the share of the units in a step, and how many samples of one unit a step reads;
#   and that nothing but the bound on a unit's own gradient limits what the unit changes.
package depa.training

import data.depa.lib

# Tables are joined on their units' keys: a unit of the result is in each of them.
most_units(ids) := min(units_of(ids)) if joins_tables

most_units(ids) := sum(units_of(ids)) if not joins_tables

units_of(ids) := [item.units | some item in input.contract.datasets; item.id in ids]

# Quotients are rounded up: what is asked never looks smaller than it is. A batch of more units than
# there are is refused as that.
shares := [{
	"stage": stage,
	"epochs": lib.quotient(((stage.steps * stage.batchUnits) + units) - 1, units),
	"sampling": lib.quotient(((stage.batchUnits * 1000000000) + units) - 1, units),
} |
	some stage in private_stages
	units := most_units(stage.datasets)
	units >= stage.batchUnits
	units > 0
]

deny contains lib.reason("UNIT_GRADIENT_UNKNOWN", path, msg) if {
	some stage in private_stages
	stage.unitGradient != "mean"
	path := concat("", [stage.path, "/config/samplesPerUnit"])
	msg := sprintf("expected the mean of a unit's gradients to be clipped, got %v", [stage.unitGradient])
}

deny contains lib.reason("BATCH_TOO_LARGE", path, msg) if {
	some stage in private_stages
	units := most_units(stage.datasets)
	stage.batchUnits > units
	path := concat("", [stage.path, "/config/batchSize"])
	msg := sprintf("%v units a step asked, expected at most the %v units of its data sets", [stage.batchUnits, units])
}

deny contains lib.reason("BATCH_COUPLED", path, msg) if {
	some stage in private_stages
	some name in stage.batchCoupled
	path := concat("", [stage.path, "/config"])
	msg := sprintf("expected layers and losses of one sample each, got %v, which couples a batch", [name])
}
