# METADATA
# title: Privacy limits that mean something
# description: Positive, nested, below one over n, in a unit and an adjacency that the clean room can account for.
package depa.agreed

import data.depa.lib

is_unit(unit) if unit in {"patient", "record"}

is_adjacency(adjacency) if adjacency in {"add-remove", "replace-one"}

deny contains lib.reason("LIMIT_NOT_POSITIVE", path, msg) if {
	some index, limit in input.contract.privacy
	least := min([
		limit.run.microEpsilon, limit.run.deltaTrillionths,
		limit.total.microEpsilon, limit.total.deltaTrillionths,
		limit.overall.microEpsilon, limit.overall.deltaTrillionths,
		limit.maxGradNormMicro, limit.maxSteps,
		limit.maxEpochs, limit.maxSamplingBillionths, limit.maxSamplesPerUnit, limit.minNoiseMicro,
	])
	least <= 0
	path := sprintf("/constraints/privacy/%v", [index])
	msg := sprintf("expected every limit for %v above zero, got one that is not", [limit.dataset])
}

deny contains lib.reason("LIMIT_NOT_NESTED", path, msg) if {
	some index, limit in input.contract.privacy
	some pair in [["run", "total"], ["total", "overall"]]
	narrower := limit[pair[0]]
	wider := limit[pair[1]]
	exceeds(narrower, wider)
	path := sprintf("/constraints/privacy/%v/%v", [index, pair[1]])
	msg := sprintf("%v grants epsilon %v and delta %v for %v, %v only %v and %v", [
		pair[0], lib.epsilon(narrower.microEpsilon), lib.delta(narrower.deltaTrillionths), limit.dataset,
		pair[1], lib.epsilon(wider.microEpsilon), lib.delta(wider.deltaTrillionths),
	])
}

exceeds(left, right) if left.microEpsilon > right.microEpsilon

exceeds(left, right) if left.deltaTrillionths > right.deltaTrillionths

# Limits with the data sets that they are for.
limited := [{"at": index, "limit": limit, "item": item} |
	some index, limit in input.contract.privacy
	some item in input.contract.datasets
	item.id == limit.dataset
]

deny contains lib.reason("DELTA_GRANTS_A_RECORD", path, msg) if {
	some pair in limited
	limit := pair.limit
	item := pair.item
	lib.grants_a_record(limit.run.deltaTrillionths, item.units)
	path := sprintf("/constraints/privacy/%v/run/delta", [pair.at])
	msg := sprintf("expected a delta below 1/%v, the inverse of the %vs in %v, got %v", [
		item.units,
		limit.unit,
		item.id,
		lib.delta(limit.run.deltaTrillionths),
	])
}

deny contains lib.reason("UNIT_UNKNOWN", path, msg) if {
	some index, limit in input.contract.privacy
	unit := limit.unit
	not is_unit(unit)
	path := sprintf("/constraints/privacy/%v/unit", [index])
	msg := sprintf("expected patient or record for %v, got %v", [limit.dataset, unit])
}

deny contains lib.reason("ADJACENCY_UNKNOWN", path, msg) if {
	some index, limit in input.contract.privacy
	adjacency := limit.adjacency
	not is_adjacency(adjacency)
	path := sprintf("/constraints/privacy/%v/adjacency", [index])
	msg := sprintf("expected add-remove or replace-one for %v, got %v", [limit.dataset, adjacency])
}

warn contains lib.reason("TOTAL_DELTA_GRANTS_A_RECORD", path, msg) if {
	some pair in limited
	limit := pair.limit
	item := pair.item
	lib.grants_a_record(limit.total.deltaTrillionths, item.units)
	path := sprintf("/constraints/privacy/%v/total/delta", [pair.at])
	msg := sprintf("delta %v over all runs is not below 1/%v, the inverse of the %vs in %v", [
		lib.delta(limit.total.deltaTrillionths),
		item.units,
		limit.unit,
		item.id,
	])
}
