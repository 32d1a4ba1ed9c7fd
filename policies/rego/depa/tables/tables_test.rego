# METADATA
# title: Tests of joins of tables
package depa.tables_test

decide_tables(patches) := decision if {
	facts := json.patch(data.depa.examples.table_training, patches)
	decision := data.depa.training.decision with input as facts
}

change(path, value) := {"op": "replace", "path": path, "value": value}

train(field, value) := change(concat("/", ["/pipeline/stages/1", field]), value)

table_stage(field, value) := change(concat("/", ["/pipeline/stages/0", field]), value)

column(index, name) := table_stage(sprintf("tables/%v/columns/0", [index]), name)

# Only one table is left in the contract and in the pipeline.
one_table := [
	{"op": "remove", "path": "/contract/datasets/1"},
	{"op": "remove", "path": "/contract/privacy/1"},
	{"op": "remove", "path": "/contract/dataUse/1"},
	change("/contract/dataUse/0/join", false),
	{"op": "remove", "path": "/contract/tdps/1"},
	{"op": "remove", "path": "/signatures/2"},
	{"op": "remove", "path": "/budgets/1"},
	{"op": "remove", "path": "/charges/1"},
	{"op": "remove", "path": "/pipeline/inputs/1"},
	{"op": "remove", "path": "/pipeline/stages/0/tables/1"},
	table_stage("datasets", ["set-a"]),
	{"op": "remove", "path": "/pipeline/stages/0/features/2"},
	train("datasets", ["set-a"]),
]

table_refused := {
	["BATCH_TOO_LARGE", 0]: [train("batchUnits", 201)],
	["COLUMN_NOT_GRANTED", 0]: [column(1, "weight")],
	["COLUMN_NOT_GRANTED", 1]: [table_stage("tables/0/filters/0/column", "day")],
	["COLUMN_NOT_READ", 0]: [table_stage("features/0/column", "income")],
	["COLUMN_NOT_READ", 1]: [table_stage("features/0/dataset", "set-b")],
	["COLUMN_TYPE", 0]: [table_stage("tables/0/filters/0/type", "text")],
	["COLUMN_TYPE", 1]: [table_stage("features/1/type", "number")],
	["COLUMN_TYPE", 2]: [table_stage("tables/1/keys/1/first", "person")],
	["COLUMN_TYPE", 3]: [table_stage("tables/1/keys/1", {"own": "weight", "first": "age"})],
	["FACTS_INCOMPLETE", 0]: [{"op": "remove", "path": "/pipeline/stages/0/maxRowsPerUnit"}],
	["FACTS_INCOMPLETE", 1]: [table_stage("tables/0/filters/0", {"column": "age"})],
	["IDENTIFIER_KEPT", 0]: [column(0, "person")],
	["IDENTIFIER_KEPT", 1]: [column(0, "postcode")],
	["IDENTIFIER_KEPT", 2]: [table_stage("tables/0/filters/0/column", "postcode")],
	["JOIN_KEY_NOT_GRANTED", 0]: [table_stage("tables/1/keys/1/own", "doses")],
	["JOIN_KEY_NOT_GRANTED", 1]: [table_stage("tables/1/keys/1/first", "sex")],
	["JOIN_NOT_ALLOWED", 0]: [change("/contract/dataUse/1/join", false)],
	["JOIN_NOT_BY_UNIT", 0]: [{"op": "remove", "path": "/pipeline/stages/0/tables/1/keys/0"}],
	["JOIN_NOT_BY_UNIT", 1]: [table_stage("tables/1/keys", [])],
	["ROWS_PER_UNIT_EXCEEDED", 0]: [table_stage("maxRowsPerUnit", 5)],
	["ROWS_PER_UNIT_EXCEEDED", 1]: [table_stage("maxRowsPerUnit", 0)],
	["STAGE_INPUT_DIFFERS", 0]: [{"op": "remove", "path": "/pipeline/stages/0/tables/1"}],
	["STAGE_ORDER", 0]: [{
		"op": "add", "path": "/pipeline/stages/0",
		"value": data.depa.examples.training.pipeline.stages[0],
	}],
	["TABLE_EXPECTED", 0]: [
		{"op": "remove", "path": "/contract/datasets/1/table"},
		{"op": "remove", "path": "/contract/dataUse/1/table"},
	],
	["TABLE_STAGE_MISSING", 0]: [change("/pipeline/stages/0", data.depa.examples.training.pipeline.stages[0])],
}

test_a_good_join_of_tables_is_allowed if {
	decide_tables([]) == {"allow": true, "reasons": set(), "warnings": set(), "policy": data.depa.lib.identity}
}

test_one_table_is_read_alone if {
	decide_tables(one_table).reasons == set()
}

test_each_change_of_a_join_is_refused_for_its_reason if {
	every key, patches in table_refused {
		key[0] in {reason.code | some reason in decide_tables(patches).reasons}
		decide_tables(patches).allow == false
	}
}

test_reasons_point_to_the_tables if {
	patches := [change("/contract/dataUse/1/join", false)]
	{reason.path | some reason in decide_tables(patches).reasons} == {"/pipeline/0/config/tables"}
}
