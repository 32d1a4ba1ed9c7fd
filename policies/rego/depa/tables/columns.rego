# METADATA
# title: Types of the columns that are read
# description: A column is compared with constants of its type, joined with one of its type, and taken for what it is.
package depa.tables

import data.depa.lib

# What a column of each type may be compared with; the empty type is that of no constant.
comparable := {
	"text": {"text", ""},
	"whole": {"whole", "number", ""},
	"number": {"whole", "number", ""},
	"flag": {"flag", ""},
}

# What a column of each type may be taken for.
taken := {
	"text": {"text"},
	"whole": {"whole", "number"},
	"number": {"number"},
	"flag": {"flag", "number"},
}

joinable := {"text": {"text"}, "whole": {"whole"}, "number": set(), "flag": {"flag"}}

fits(table, name, allowed, kind) if {
	some column in table.columns
	column.name == name
	kind in allowed[column.type]
}

deny contains lib.reason("COLUMN_TYPE", path, msg) if {
	some pair in reads
	some filter in pair.read.filters
	table := pair.table
	name := filter.column
	kind := filter.type
	allowed := comparable
	not fits(table, name, allowed, kind)
	path := sprintf("%v/where", [pair.path])
	msg := sprintf("expected column %v of %v to be compared with its own type, got %v", [name, pair.read.dataset, kind])
}

deny contains lib.reason("COLUMN_TYPE", path, msg) if {
	some pair in reads
	some feature in pair.stage.features
	feature.dataset == pair.read.dataset
	table := pair.table
	name := feature.column
	kind := feature.type
	allowed := taken
	not fits(table, name, allowed, kind)
	path := sprintf("%v/columns", [pair.path])
	msg := sprintf("expected column %v of %v to be taken for its own type, got %v", [name, pair.read.dataset, kind])
}

deny contains lib.reason("COLUMN_TYPE", path, msg) if {
	some pair in pairs
	some index, key in pair.own.read.keys
	not same_type(pair, key)
	path := sprintf("%v/on/%v", [pair.own.path, index])
	msg := sprintf("expected columns %v and %v of one type, text, whole or flag, got others", [key.own, key.first])
}

same_type(pair, key) if {
	some column in pair.first.table.columns
	column.name == key.first
	kind := column.type
	fits(pair.own.table, key.own, joinable, kind)
}

complete if {
	every stage in table_stages {
		stage_complete(stage)
	}
}

stage_complete(stage) if {
	lib.is_texts(stage.datasets)
	is_array(stage.tables)
	count(stage.tables) > 0
	every read in stage.tables {
		read_complete(read)
	}
	is_array(stage.features)
	every feature in stage.features {
		is_string(feature.dataset)
		is_string(feature.column)
		is_string(feature.type)
	}
	lib.is_whole(stage.maxRowsPerUnit)
}

read_complete(read) if {
	lib.is_text(read.dataset)
	lib.is_texts(read.columns)
	is_array(read.filters)
	every filter in read.filters {
		is_string(filter.column)
		is_string(filter.type)
	}
	is_array(read.keys)
	every key in read.keys {
		is_string(key.own)
		is_string(key.first)
	}
}
