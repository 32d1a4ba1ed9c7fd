# METADATA
# title: Tests of what keeps a pipeline from running
package depa.pipeline_test

codes(patches) := found if {
	facts := json.patch(data.depa.examples.training, patches)
	denied := data.depa.pipeline.deny with input as facts
	found := {reason.code | some reason in denied}
}

train(field, value) := {"op": "replace", "path": concat("/", ["/pipeline/stages/1", field]), "value": value}

charge(field, value) := {"op": "replace", "path": concat("/", ["/charges/0", field]), "value": value}

test_no_rule_denies_a_good_pipeline if {
	codes([]) == set()
}

test_a_limit_of_another_data_set_is_none if {
	found := codes([
		train("datasets", ["set-a"]),
		{"op": "replace", "path": "/contract/privacy/1/maxSteps", "value": 1},
	])
	not "STEPS_EXCEEDED" in found
}

test_each_limit_that_is_passed_is_named if {
	passed := codes([train("privacy/microEpsilon", 8000001), train("steps", 1001)])
	{"EPSILON_EXCEEDED", "STEPS_EXCEEDED"} - passed == set()
}

share := data.depa.examples.training.charges[0].samplingBillionths

test_a_share_may_differ_by_its_last_digit if {
	codes([charge("samplingBillionths", share + 1)]) == set()
	codes([charge("samplingBillionths", share - 1)]) == set()
	codes([charge("samplingBillionths", share + 2)]) == {"MECHANISM_DIFFERS"}
	codes([charge("samplingBillionths", share - 2)]) == {"MECHANISM_DIFFERS"}
}

test_another_consumer_and_less_noise_are_named if {
	codes([charge("tdc", "did:other"), charge("noiseMicro", 0)]) == {"CHARGE_OF_OTHER_CONSUMER", "NOISE_TOO_SMALL"}
}
