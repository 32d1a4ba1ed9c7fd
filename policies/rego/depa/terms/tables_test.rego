# METADATA
# title: Tests of the terms of tables
package depa.terms_test

change(path, value) := {"op": "replace", "path": path, "value": value}

decide_tables(patches) := decision if {
	facts := json.patch(data.depa.examples.table_contract, patches)
	decision := data.depa.contract.decision with input as facts
}

table_refused := {
	["FACTS_INCOMPLETE", 0]: [change("/contract/datasets/0/table", false)],
	["FACTS_INCOMPLETE", 1]: [{"op": "remove", "path": "/contract/dataUse/0/table/joinKeys"}],
	["FACTS_INCOMPLETE", 2]: [change("/contract/datasets/0/table/columns/0/type", "blob")],
	["TABLE_COLUMN_UNKNOWN", 0]: [change("/contract/dataUse/0/table/columns/0", "income")],
	["TABLE_COLUMN_UNKNOWN", 1]: [change("/contract/dataUse/1/table/joinKeys/0", "income")],
	["TABLE_COLUMN_UNKNOWN", 2]: [change("/contract/datasets/1/table/unitKey", "income")],
	["TABLE_IDENTIFIER_GRANTED", 0]: [change("/contract/dataUse/0/table/columns/0", "person")],
	["TABLE_IDENTIFIER_GRANTED", 1]: [change("/contract/dataUse/0/table/columns/0", "postcode")],
	["TABLE_ROWS_UNBOUNDED", 0]: [change("/contract/dataUse/0/table/maxRowsPerUnit", 0)],
	["TABLE_ROWS_UNBOUNDED", 1]: [change("/contract/dataUse/0/table/maxRowsPerUnit", 65)],
	["TABLE_TERMS_MISMATCH", 0]: [{"op": "remove", "path": "/contract/dataUse/0/table"}],
	["TABLE_TERMS_MISMATCH", 1]: [{"op": "remove", "path": "/contract/datasets/0/table"}],
	["TABLE_UNIT", 0]: [change("/contract/privacy/1/unit", "record")],
}

test_good_terms_of_tables_are_allowed if {
	decide_tables([]).allow
}

test_each_change_of_a_table_is_refused_for_its_reason if {
	every key, patches in table_refused {
		key[0] in {reason.code | some reason in decide_tables(patches).reasons}
		decide_tables(patches).allow == false
	}
}

test_reasons_point_to_the_column if {
	patches := [change("/contract/dataUse/0/table/columns/2", "postcode")]
	decide_tables(patches).reasons == {{
		"code": "TABLE_IDENTIFIER_GRANTED",
		"path": "/constraints/dataUse/0/columns/2",
		"msg": "column postcode of table set-a says whose row it is, expected it not to be granted",
	}}
}
