# METADATA
# title: Where there are tables
# description: What is read of tables is judged by depa.tables; without any, none of its rules is evaluated.
package depa.pipeline

import data.depa.lib

contract_tables := [item.id | some item in input.contract.datasets; is_object(item.table)]

deny contains found if {
	data.depa.training.joins_tables
	some found in data.depa.tables.deny
}

deny contains lib.reason("TABLE_STAGE_MISSING", stage.path, msg) if {
	data.depa.contract.agreed.tables == true
	not data.depa.training.joins_tables
	some stage in input.pipeline.stages
	some id in contract_tables
	id in stage.datasets
	msg := sprintf("expected table %v to be read by a TableJoin, which says what of it is read, got none", [id])
}
