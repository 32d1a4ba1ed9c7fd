# METADATA
# title: Tables and the terms of their use
# description: |
#   A table has terms for its columns, and nothing else has. What says whose row it is reaches
#   neither training nor the choice of rows, and a person's rows have a bound. The contract policy
#   asks this package where there is a table, since most contracts have none.
package depa.terms

import data.depa.lib

# Tables with the terms of their use; a table without terms is in no pair.
table_pairs := [{"at": index, "id": use.dataset, "table": item.table, "terms": use.table} |
	some index, use in input.contract.dataUse
	is_object(use.table)
	some item in input.contract.datasets
	item.id == use.dataset
	is_object(item.table)
]

table_ids := {item.id | some item in input.contract.datasets; is_object(item.table)}

deny contains lib.reason("TABLE_TERMS_MISMATCH", "/constraints/dataUse", msg) if {
	some id in table_ids - {pair.id | some pair in table_pairs}
	msg := sprintf("expected columns and maxRowsPerUnit for table %v, got none", [id])
}

deny contains lib.reason("TABLE_TERMS_MISMATCH", path, msg) if {
	some index, use in input.contract.dataUse
	is_object(use.table)
	id := use.dataset
	not is_table(id)
	path := sprintf("/constraints/dataUse/%v/columns", [index])
	msg := sprintf("expected terms for columns of tables alone, got some for %v", [id])
}

is_table(id) if id in table_ids

deny contains lib.reason("TABLE_COLUMN_UNKNOWN", path, msg) if {
	some pair in table_pairs
	held := {column.name | some column in pair.table.columns}
	some field in ["columns", "joinKeys", "identifiers"]
	some index, name in pair.terms[field]
	count({name} - held) > 0
	path := sprintf("/constraints/dataUse/%v/%v/%v", [pair.at, field, index])
	msg := sprintf("expected columns of table %v, got %v", [pair.id, name])
}

deny contains lib.reason("TABLE_COLUMN_UNKNOWN", "/datasets", msg) if {
	some item in input.contract.datasets
	key := item.table.unitKey
	count([column | some column in item.table.columns; column.name == key]) != 1
	msg := sprintf("expected the unit's key of table %v to be one of its columns, got %v", [item.id, key])
}

deny contains lib.reason("TABLE_IDENTIFIER_GRANTED", path, msg) if {
	some pair in table_pairs
	hidden := {pair.table.unitKey} | {name | some name in pair.terms.identifiers}
	some index, name in pair.terms.columns
	name in hidden
	path := sprintf("/constraints/dataUse/%v/columns/%v", [pair.at, index])
	msg := sprintf("column %v of table %v says whose row it is, expected it not to be granted", [name, pair.id])
}

deny contains lib.reason("TABLE_ROWS_UNBOUNDED", path, msg) if {
	some pair in table_pairs
	bound := pair.terms.maxRowsPerUnit
	not is_row_bound(bound)
	path := sprintf("/constraints/dataUse/%v/maxRowsPerUnit", [pair.at])
	msg := sprintf("expected 1 to 64 rows of a unit of table %v, got %v", [pair.id, bound])
}

is_row_bound(bound) if {
	bound > 0
	bound <= 64
}

# Rows of one person are one unit here, so that a limit for single rows would say too little.
deny contains lib.reason("TABLE_UNIT", path, msg) if {
	some index, limit in input.contract.privacy
	limit.dataset in table_ids
	limit.unit != "patient"
	path := sprintf("/constraints/privacy/%v/unit", [index])
	msg := sprintf("expected patient for table %v, whose rows are grouped by person, got %v", [limit.dataset, limit.unit])
}

# Whatever stands where a table's terms do must be terms.
complete if {
	every value in [item.table | some item in input.contract.datasets] {
		is_string(value.unitKey)
		is_array(value.columns)
		columns_complete(value.columns)
	}
	every value in [use.table | some use in input.contract.dataUse] {
		lib.is_texts(value.columns)
		lib.is_texts(value.joinKeys)
		lib.is_texts(value.identifiers)
		lib.is_whole(value.maxRowsPerUnit)
	}
}

columns_complete(columns) if {
	every column in columns {
		is_string(column.name)
		column.type in {"text", "whole", "number", "flag"}
	}
}
