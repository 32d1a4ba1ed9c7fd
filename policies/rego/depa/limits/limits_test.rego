# METADATA
# title: Tests of which limit is passed
package depa.limits_test

codes(patches) := found if {
	facts := json.patch(data.depa.examples.training, patches)
	denied := data.depa.limits.deny with input as facts
	found := {reason.code | some reason in denied}
}

train(field, value) := {"op": "replace", "path": concat("/", ["/pipeline/stages/1", field]), "value": value}

test_a_good_pipeline_passes_no_limit if {
	codes([]) == set()
}

test_a_limit_of_another_data_set_is_none if {
	codes([
		train("datasets", ["set-a"]),
		{"op": "replace", "path": "/contract/privacy/1/maxSteps", "value": 1},
	]) == set()
}

test_each_limit_that_is_passed_is_named if {
	passed := codes([train("privacy/microEpsilon", 8000001), train("steps", 1001)])
	{"EPSILON_EXCEEDED", "STEPS_EXCEEDED"} - passed == set()
}
