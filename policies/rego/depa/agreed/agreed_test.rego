# METADATA
# title: Tests of what is said about the terms alone
package depa.agreed_test

# Terms and who judges: all that there is to see for this package.
terms_alone(patches) := json.patch(
	{"bundle": data.depa.examples.contract.bundle, "contract": data.depa.examples.contract.contract},
	patches,
)

verdict(patches) := found if {
	facts := terms_alone(patches)
	found := data.depa.agreed.verdict with input as facts
}

decide(facts) := decision if {
	decision := data.depa.contract.decision with input as facts
}

purpose := [{"op": "replace", "path": "/contract/purpose", "value": "MARKETING"}]

test_good_terms_need_neither_clock_nor_signatures if {
	found := verdict([])
	found.complete
	found.deny == set()
	found.warn == set()
	found.tables == false
}

test_terms_that_lack_a_field_are_not_judged if {
	verdict([{"op": "remove", "path": "/contract/tdc"}]) == {"complete": false, "deny": [], "warn": [], "tables": false}
}

test_the_tightest_limits_are_those_of_all_data_sets if {
	found := verdict([
		{"op": "replace", "path": "/contract/privacy/0/maxSteps", "value": 7},
		{"op": "replace", "path": "/contract/privacy/1/minNoiseMicro", "value": 900000},
		{"op": "replace", "path": "/contract/dataUse/1/join", "value": false},
		{"op": "replace", "path": "/contract/privacy/1/unit", "value": "record"},
	]).tightest
	found.maxSteps == 7
	found.minNoiseMicro == 900000
	found.join == false
	found.unit == ["patient", "record"]
	found.adjacency == ["add-remove"]
}

test_terms_that_are_not_in_order_have_no_tightest_limits if {
	every patches in [purpose, [{"op": "remove", "path": "/contract/tdc"}]] {
		found := verdict(patches)
		[limits | limits := found.tightest] == []
	}
}

test_a_verdict_from_before_is_taken_as_it_is if {
	found := verdict(purpose)
	facts := json.patch(data.depa.examples.contract, purpose)
	prepared := object.union(facts, {"prepared": {
		"complete": found.complete,
		"deny": [reason | some reason in found.deny],
		"warn": [],
		"tables": found.tables,
	}})
	decide(prepared) == decide(facts)
	decide(facts).allow == false
}

test_terms_that_lacked_a_field_before_are_not_judged_now if {
	facts := object.union(data.depa.examples.contract, {"prepared": {
		"complete": false,
		"deny": [],
		"warn": [],
		"tables": false,
	}})
	{reason.code | some reason in decide(facts).reasons} == {"FACTS_INCOMPLETE"}
}
