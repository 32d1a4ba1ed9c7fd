# METADATA
# title: Where there are tables
# description: Their schemas and terms are judged by depa.terms; without any, none of its rules is evaluated.
package depa.agreed

default lends_tables := false

lends_tables if count([item.table | some item in input.contract.datasets]) > 0

lends_tables if count([use.table | some use in input.contract.dataUse]) > 0

deny contains found if {
	lends_tables
	some found in data.depa.terms.deny
}

tables_complete if not lends_tables

tables_complete if {
	lends_tables
	data.depa.terms.complete
}
