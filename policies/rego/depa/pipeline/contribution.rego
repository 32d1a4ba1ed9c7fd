# METADATA
# title: How much one unit may contribute
# description: |
#   No more units a step than there are; and nothing but the bound on a unit's own gradient limits what
#   the unit changes.
package depa.pipeline

import data.depa.lib
import data.depa.training

# Tables are joined on their units' keys: a unit of the result is in each of them.
units_of(ids) := min(units_in(ids)) if data.depa.training.joins_tables

units_of(ids) := sum(units_in(ids)) if not data.depa.training.joins_tables

units_in(ids) := [item.units | some item in input.contract.datasets; item.id in ids]

# A batch of more units than there are is refused as that.
shares := [training.share_of(stage, units) |
	some stage in data.depa.training.private_stages
	units := units_of(stage.datasets)
	units >= stage.batchUnits
	units > 0
]

deny contains lib.reason("UNIT_GRADIENT_UNKNOWN", path, msg) if {
	some stage in data.depa.training.private_stages
	stage.unitGradient != "mean"
	path := concat("", [stage.path, "/config/samplesPerUnit"])
	msg := sprintf("expected the mean of a unit's gradients to be clipped, got %v", [stage.unitGradient])
}

deny contains lib.reason("BATCH_TOO_LARGE", path, msg) if {
	some stage in data.depa.training.private_stages
	units := units_of(stage.datasets)
	stage.batchUnits > units
	path := concat("", [stage.path, "/config/batchSize"])
	msg := sprintf("%v units a step asked, expected at most the %v units of its data sets", [stage.batchUnits, units])
}

deny contains lib.reason("BATCH_COUPLED", path, msg) if {
	some stage in data.depa.training.private_stages
	some name in stage.batchCoupled
	path := concat("", [stage.path, "/config"])
	msg := sprintf("expected layers and losses of one sample each, got %v, which couples a batch", [name])
}
