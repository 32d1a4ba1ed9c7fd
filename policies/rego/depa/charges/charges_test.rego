# METADATA
# title: Tests of how a charge differs
package depa.charges_test

codes(patches) := found if {
	facts := json.patch(data.depa.examples.training, patches)
	denied := data.depa.charges.deny with input as facts
	found := {reason.code | some reason in denied}
}

charge(field, value) := {"op": "replace", "path": concat("/", ["/charges/0", field]), "value": value}

share := data.depa.examples.training.charges[0].samplingBillionths

test_a_good_charge_agrees if {
	codes([]) == set()
}

test_a_share_may_differ_by_its_last_digit if {
	codes([charge("samplingBillionths", share + 1)]) == set()
	codes([charge("samplingBillionths", share - 1)]) == set()
	codes([charge("samplingBillionths", share + 2)]) == {"MECHANISM_DIFFERS"}
	codes([charge("samplingBillionths", share - 2)]) == {"MECHANISM_DIFFERS"}
}

test_another_consumer_and_less_noise_are_named if {
	codes([charge("tdc", "did:other"), charge("noiseMicro", 0)]) == {"CHARGE_OF_OTHER_CONSUMER", "NOISE_TOO_SMALL"}
}
