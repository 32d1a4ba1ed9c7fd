# METADATA
# title: Tests of the shared functions
package depa.lib_test

import data.depa.lib

test_whole_numbers_are_told_from_others if {
	values := [0, 1, 9007199254740991, 9007199254740993, 0 - 1, 3 / 2, "1", true, null]
	[value | some value in values; lib.is_whole(value)] == [0, 1, 9007199254740991]
}

test_texts_are_told_from_others if {
	values := ["a", "", 1, null]
	[value | some value in values; lib.is_text(value)] == ["a"]
	[index | some index, value in [["a", "b"], ["a", ""], ["a", 1], "a"]; lib.is_texts(value)] == [0]
}

test_digests_are_matched_as_a_whole if {
	good := data.depa.examples.digest("a")
	values := [good, concat("", [good, "a"]), concat("", [good, "\n"]), concat("", ["x", good]), "sha256:", 7]
	[value | some value in values; lib.is_digest(value)] == [good]
}

test_keys_are_reached_by_tls if {
	lib.is_reachable_key({"vault": "https://a.example", "name": "kek"})
	keys := [{"vault": "http://a.example", "name": "kek"}, {"vault": "https://a.example", "name": ""}, {"name": "kek"}]
	[key | some key in keys; lib.is_reachable_key(key)] == []
}

test_decimals_are_exact if {
	[lib.epsilon(micro) | some micro in [0, 1, 500000, 1361000, 8000000, 100000000]] ==
		["0", "0.000001", "0.5", "1.361", "8", "100"]
	lib.delta(500000000) == "0.0005"
	lib.delta(1) == "0.000000000001"
	lib.norm(500000) == "0.5"
}

test_delta_stays_below_one_over_the_units if {
	every pair in [[999999999999, 1], [499999999999, 2], [333333333333, 3], [999, 1000000000]] {
		not lib.grants_a_record(pair[0], pair[1])
		lib.grants_a_record(pair[0] + 1, pair[1])
	}
}

test_instants_are_civil_times if {
	seconds := {
		0: "1970-01-01T00:00:00Z",
		951782399: "2000-02-28T23:59:59Z",
		951782400: "2000-02-29T00:00:00Z",
		1709251200: "2024-03-01T00:00:00Z",
		1735689599: "2024-12-31T23:59:59Z",
		1795262400: "2026-11-21T12:00:00Z",
		4107542400: "2100-03-01T00:00:00Z",
	}
	every second, text in seconds {
		lib.instant(second * 1000000) == text
	}
	lib.seconds(600000000) == "600"
}

test_listings_are_sorted if {
	lib.listing({"b", "a"}) == "a, b"
	lib.listing([]) == "none"
}
