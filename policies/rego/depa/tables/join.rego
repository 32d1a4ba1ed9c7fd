# METADATA
# title: Tables that are read and joined
# description: |
#   Granted columns alone, joined on granted keys and on the key of the unit, a bounded number of
#   rows for each person, and nothing that says who that is. The training policy asks this package
#   where there is a table, since most contracts have none.
package depa.tables

import data.depa.lib

table_stages := [stage | some stage in input.pipeline.stages; stage.name == "TableJoin"]

contract_tables := [item | some item in input.contract.datasets; is_object(item.table)]

# Every table that is read, with what is lent of it.
reads := [{
	"path": sprintf("%v/config/tables/%v", [stage.path, index]),
	"stage": stage,
	"read": read,
	"table": item.table,
	"terms": use.table,
} |
	some stage in table_stages
	some index, read in stage.tables
	some item in contract_tables
	item.id == read.dataset
	some use in input.contract.dataUse
	use.dataset == read.dataset
]

# Every table after the first, with the first one of its stage.
pairs := [{"own": own, "first": first} |
	some own in reads
	some first in reads
	first.stage == own.stage
	first.read == own.stage.tables[0]
	own.read != first.read
]

is_lent_table(id) if {
	some item in contract_tables
	item.id == id
}

is_granted(terms, column) if column in terms.columns

is_key(terms, column) if column in terms.joinKeys

names_person(pair, column) if column in pair.terms.identifiers

names_person(pair, column) if column == pair.table.unitKey

deny contains lib.reason("TABLE_EXPECTED", path, msg) if {
	some stage in table_stages
	some index, read in stage.tables
	id := read.dataset
	not is_lent_table(id)
	path := sprintf("%v/config/tables/%v/dataset", [stage.path, index])
	msg := sprintf("expected a table of the contract, got %v", [id])
}

deny contains lib.reason("STAGE_INPUT_DIFFERS", stage.path, msg) if {
	some stage in table_stages
	named := {read.dataset | some read in stage.tables}
	named != {id | some id in stage.datasets}
	msg := sprintf("expected the tables %v, got %v", [lib.listing(stage.datasets), lib.listing(named)])
}

deny contains lib.reason("COLUMN_NOT_GRANTED", path, msg) if {
	some pair in reads
	some index, column in pair.read.columns
	terms := pair.terms
	not is_granted(terms, column)
	path := sprintf("%v/columns/%v", [pair.path, index])
	msg := sprintf("expected columns of %v that are granted, got %v", [pair.read.dataset, column])
}

deny contains lib.reason("COLUMN_NOT_GRANTED", path, msg) if {
	some pair in reads
	some filter in pair.read.filters
	column := filter.column
	terms := pair.terms
	not is_granted(terms, column)
	path := sprintf("%v/where", [pair.path])
	msg := sprintf("expected rows of %v to be chosen by columns that are granted, got %v", [pair.read.dataset, column])
}

deny contains lib.reason("IDENTIFIER_KEPT", path, msg) if {
	some pair in reads
	some index, column in pair.read.columns
	names_person(pair, column)
	path := sprintf("%v/columns/%v", [pair.path, index])
	msg := sprintf("column %v of %v says whose row it is, expected it to be left behind", [column, pair.read.dataset])
}

deny contains lib.reason("IDENTIFIER_KEPT", path, msg) if {
	some pair in reads
	some filter in pair.read.filters
	names_person(pair, filter.column)
	path := sprintf("%v/where", [pair.path])
	msg := sprintf("column %v of %v says whose row it is, expected no choice by it", [filter.column, pair.read.dataset])
}

deny contains lib.reason("JOIN_KEY_NOT_GRANTED", path, msg) if {
	some pair in pairs
	some index, key in pair.own.read.keys
	column := key.own
	terms := pair.own.terms
	not is_key(terms, column)
	path := sprintf("%v/on/%v/own", [pair.own.path, index])
	msg := sprintf("expected a join key that %v grants, got %v", [pair.own.read.dataset, column])
}

deny contains lib.reason("JOIN_KEY_NOT_GRANTED", path, msg) if {
	some pair in pairs
	some index, key in pair.own.read.keys
	column := key.first
	terms := pair.first.terms
	not is_key(terms, column)
	path := sprintf("%v/on/%v/first", [pair.own.path, index])
	msg := sprintf("expected a join key that %v grants, got %v", [pair.first.read.dataset, column])
}

# Otherwise a row of one person could meet the rows of many.
deny contains lib.reason("JOIN_NOT_BY_UNIT", path, msg) if {
	some pair in pairs
	not joins_units(pair)
	path := sprintf("%v/on", [pair.own.path])
	msg := sprintf("expected a join on the units' keys %v and %v, got none", [
		pair.own.table.unitKey,
		pair.first.table.unitKey,
	])
}

joins_units(pair) if {
	some key in pair.own.read.keys
	key.own == pair.own.table.unitKey
	key.first == pair.first.table.unitKey
}

deny contains lib.reason("ROWS_PER_UNIT_EXCEEDED", path, msg) if {
	some pair in reads
	pair.stage.maxRowsPerUnit > pair.terms.maxRowsPerUnit
	path := sprintf("%v/config/maxRowsPerUnit", [pair.stage.path])
	msg := sprintf("%v rows of a unit asked, at most %v granted for %v", [
		pair.stage.maxRowsPerUnit,
		pair.terms.maxRowsPerUnit,
		pair.read.dataset,
	])
}

deny contains lib.reason("ROWS_PER_UNIT_EXCEEDED", path, msg) if {
	some stage in table_stages
	stage.maxRowsPerUnit < 1
	path := sprintf("%v/config/maxRowsPerUnit", [stage.path])
	msg := sprintf("expected a bound on the rows of a unit, got %v", [stage.maxRowsPerUnit])
}

deny contains lib.reason("COLUMN_NOT_READ", path, msg) if {
	some stage in table_stages
	some feature in stage.features
	not is_handed_on(stage, feature)
	path := sprintf("%v/config/tables", [stage.path])
	msg := sprintf("expected training to take columns that the join hands on, got %v of %v", [
		feature.column,
		feature.dataset,
	])
}

is_handed_on(stage, feature) if {
	some read in stage.tables
	read.dataset == feature.dataset
	feature.column in read.columns
}
