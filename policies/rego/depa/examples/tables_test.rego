# METADATA
# title: Facts about tables that are allowed
# description: A laboratory and a registry lend a table each; the tests change one thing at a time.
package depa.examples

visits := {
	"unitKey": "person",
	"columns": [
		{"name": "person", "type": "text"},
		{"name": "day", "type": "whole"},
		{"name": "age", "type": "number"},
		{"name": "sex", "type": "text"},
		{"name": "postcode", "type": "text"},
		{"name": "positive", "type": "flag"},
	],
}

doses := {
	"unitKey": "citizen",
	"columns": [
		{"name": "citizen", "type": "text"},
		{"name": "day", "type": "whole"},
		{"name": "doses", "type": "whole"},
		{"name": "weight", "type": "number"},
	],
}

visits_use := {
	"columns": ["age", "sex", "positive"],
	"joinKeys": ["person", "day", "age"],
	"identifiers": ["postcode"],
	"maxRowsPerUnit": 4,
}

doses_use := {
	"columns": ["doses"],
	"joinKeys": ["citizen", "day", "weight"],
	"identifiers": [],
	"maxRowsPerUnit": 8,
}

table_patches := [
	{"op": "add", "path": "/contract/datasets/0/table", "value": visits},
	{"op": "add", "path": "/contract/datasets/1/table", "value": doses},
	{"op": "add", "path": "/contract/dataUse/0/table", "value": visits_use},
	{"op": "add", "path": "/contract/dataUse/1/table", "value": doses_use},
]

table_contract := json.patch(contract, table_patches)

# A patient is in both tables, so that 80 of 200 take part in a step.
rate(index) := {
	"op": "replace",
	"path": sprintf("/charges/%v/samplingBillionths", [index]),
	"value": 400000000,
}

table_training := json.patch(training, array.concat(table_patches, [rate(0), rate(1), {
	"op": "replace",
	"path": "/pipeline/stages/0",
	"value": {
		"path": "/pipeline/0",
		"name": "TableJoin",
		"datasets": ["set-a", "set-b"],
		"tables": [
			{
				"dataset": "set-a",
				"columns": ["age", "sex", "positive"],
				"filters": [{"column": "age", "type": "whole"}, {"column": "sex", "type": ""}],
				"keys": [],
			},
			{
				"dataset": "set-b",
				"columns": ["doses"],
				"filters": [],
				"keys": [{"own": "citizen", "first": "person"}, {"own": "day", "first": "day"}],
			},
		],
		"features": [
			{"dataset": "set-a", "column": "age", "type": "number"},
			{"dataset": "set-a", "column": "sex", "type": "text"},
			{"dataset": "set-b", "column": "doses", "type": "whole"},
			{"dataset": "set-a", "column": "positive", "type": "flag"},
		],
		"maxRowsPerUnit": 4,
	},
}]))
