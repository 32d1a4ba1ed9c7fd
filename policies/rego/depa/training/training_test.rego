# METADATA
# title: Tests of the training policy
package depa.training_test

decide(patches) := decision if {
	facts := json.patch(data.depa.examples.training, patches)
	decision := data.depa.training.decision with input as facts
}

codes(patches) := {reason.code | some reason in decide(patches).reasons}

change(path, value) := {"op": "replace", "path": path, "value": value}

train(field, value) := change(concat("/", ["/pipeline/stages/1", field]), value)

# A pipeline of one stage under a contract of one data set.
stage := object.union(data.depa.examples.training.pipeline.stages[1], {"datasets": ["set-a"], "batchUnits": 40})

open_stage := object.union(
	{field: value | some field, value in stage; field != "privacy"},
	{"isPrivate": false},
)

# Both data sets grant a metric, and the stage asks for it.
released := array.concat(
	[{
		"op": "add",
		"path": sprintf("/contract/privacy/%v/privateMetrics", [index]),
		"value": {"names": ["dice_score"], "microEpsilon": 500000},
	} |
		some index in [0, 1]
	],
	[
		change("/contract/metricsOnPrivateData", "noised"),
		train("metrics", [{"name": "dice_score", "on": "public"}, {"name": "dice_score", "on": "private"}]),
		train("privateMetricsMicroEpsilon", 500000),
		change("/charges/0/metricsNoiseMicro", 4000000),
		change("/charges/1/metricsNoiseMicro", 4000000),
	],
)

alone := [
	{"op": "remove", "path": "/contract/datasets/1"},
	{"op": "remove", "path": "/contract/privacy/1"},
	{"op": "remove", "path": "/contract/dataUse/1"},
	{"op": "remove", "path": "/budgets/1"},
	{"op": "remove", "path": "/charges/1"},
	{"op": "remove", "path": "/pipeline/inputs/1"},
	{"op": "remove", "path": "/contract/tdps/1"},
	{"op": "remove", "path": "/signatures/2"},
	change("/pipeline/stages", [stage]),
]

public := array.concat(alone, [
	change("/contract/dataUse/0/privateOnly", false),
	change("/charges", []),
	change("/pipeline/stages", [open_stage]),
])

refused := {
	["ADJACENCY_MISMATCH", 0]: [train("privacy/adjacency", "replace-one")],
	["BASE_WEIGHTS_MISSING", 0]: [train("model", "onnx"), train("baseWeights", [])],
	["BASE_WEIGHTS_UNKNOWN", 0]: [train("baseWeights", ["other"])],
	["BATCH_COUPLED", 0]: [train("batchCoupled", ["BatchNormalization"])],
	["BATCH_TOO_LARGE", 0]: [train("batchUnits", 401)],
	["BUDGET_EXHAUSTED", 0]: [change("/budgets/0/tdcAfter", 10000001)],
	["BUDGET_OVERALL_EXHAUSTED", 0]: [change("/budgets/1/overallAfter", 20000001)],
	["BUDGET_UNKNOWN", 0]: [{"op": "remove", "path": "/budgets/0"}],
	["CHARGES_DIFFER", 0]: [{"op": "remove", "path": "/charges/0"}],
	["CHARGES_DIFFER", 1]: [change("/charges/0/dataset", "set-c")],
	["CHARGES_DIFFER", 2]: [{"op": "add", "path": "/charges/-", "value": data.depa.examples.charge("set-a")}],
	["CHARGE_OF_OTHER_CONSUMER", 0]: [change("/charges/1/tdc", "did:other")],
	["CONTRACT_EXPIRED", 0]: [change("/contract/expiresAt", data.depa.examples.now)],
	["CONTRACT_NOT_EXECUTED", 0]: [change("/executed", false)],
	["DATASET_NOT_IN_CONTRACT", 0]: [change("/pipeline/stages/0/datasets", ["set-a", "set-b", "set-c"])],
	["DATASET_NOT_USED", 0]: [change("/pipeline/stages/0/datasets", ["set-a"])],
	["DATASET_REPEATED", 0]: [change("/pipeline/stages/0/datasets", ["set-a", "set-b", "set-b"])],
	["DELTA_EXCEEDED", 0]: [train("privacy/deltaTrillionths", 500000001)],
	["DELTA_GRANTS_A_RECORD", 0]: [train("privacy/deltaTrillionths", 5000000000)],
	["EPOCHS_EXCEEDED", 0]: [change("/contract/privacy/1/maxEpochs", 19)],
	["EPSILON_EXCEEDED", 0]: [train("privacy/microEpsilon", 8000001)],
	["FACTS_INCOMPLETE", 0]: [{"op": "remove", "path": "/pipeline/digest"}],
	["FACTS_INCOMPLETE", 1]: [change("/pipeline/stages", [])],
	["FOREIGN_TEXT", 0]: [change("/pipeline/foreignTexts", ["/pipeline/1/config/device"])],
	["GRAD_NORM_EXCEEDED", 0]: [train("privacy/maxGradNormMicro", 1000001)],
	["INPUTS_DIFFER", 0]: [{"op": "remove", "path": "/pipeline/inputs/0"}],
	["INPUTS_DIFFER", 1]: [change("/pipeline/inputs/0/id", "set-c")],
	["INPUT_DIGEST_DIFFERS", 0]: [change("/pipeline/inputs/0/digest", data.depa.examples.digest("9"))],
	["INPUT_NOT_READ_ONLY", 0]: [change("/pipeline/inputs/1/access", "read-write")],
	["JOIN_MISSING", 0]: [{"op": "remove", "path": "/pipeline/stages/0"}],
	["JOIN_NOT_ALLOWED", 0]: [change("/contract/dataUse/1/join", false)],
	["LOSS_MISSING", 0]: [train("losses", [])],
	["LOSS_NOT_ALLOWED", 0]: [train("losses", ["DiceLoss", "MSELoss"])],
	["MECHANISM_DIFFERS", 0]: [change("/charges/0/microEpsilon", 8000001)],
	["MECHANISM_DIFFERS", 1]: [change("/charges/0/deltaTrillionths", 499999999)],
	["MECHANISM_DIFFERS", 2]: [change("/charges/0/steps", 99)],
	["MECHANISM_DIFFERS", 3]: [change("/charges/0/samplingBillionths", 200000002)],
	["MECHANISM_DIFFERS", 4]: [change("/charges/0/samplingBillionths", 199999998)],
	["MECHANISM_DIFFERS", 5]: [change("/charges/0/metricsNoiseMicro", 4000000)],
	["MECHANISM_DIFFERS", 6]: [train("privateMetricsMicroEpsilon", 1)],
	["METRICS_SHARE_EXCEEDED", 0]: array.concat(released, [train("privateMetricsMicroEpsilon", 500001)]),
	["METRICS_UNPAID", 0]: array.concat(released, [change("/charges/1/metricsNoiseMicro", 0)]),
	["METRICS_UNPAID", 1]: array.concat(released, [train("privateMetricsMicroEpsilon", 0)]),
	["METRICS_UNPAID", 2]: array.concat(released, [train("isPrivate", false)]),
	["METRICS_WITHHELD", 0]: [train("metrics", [{"name": "accuracy", "on": "private"}])],
	["METRICS_WITHHELD", 1]: array.concat(released, [train("metrics", [{"name": "dice_score", "on": "secret"}])]),
	["METRIC_NOT_LENT", 0]: array.concat(released, [change("/contract/privacy/1/privateMetrics/names", ["mse"])]),
	["METRIC_NOT_LENT", 1]: array.concat(released, [{"op": "remove", "path": "/contract/privacy/0/privateMetrics"}]),
	["METRIC_NOT_ALLOWED", 0]: [train("metrics", [{"name": "recall", "on": "public"}])],
	["MODEL_NOT_ALLOWED", 0]: [train("model", "xgboost")],
	["NOISE_TOO_SMALL", 0]: [change("/charges/0/noiseMicro", 699999)],
	["OTHER_CONTRACT", 0]: [change("/pipeline/contract", data.depa.examples.digest("9"))],
	["OUTPUT_NOT_ALLOWED", 0]: [train("output", "pickle")],
	["PARAMETERS_EXCEEDED", 0]: [train("parameters", 1000001)],
	["POLICY_MISMATCH", 0]: [change("/bundle/digest", data.depa.examples.digest("9"))],
	["PRIVACY_NOT_POSITIVE", 0]: [train("privacy/microEpsilon", 0)],
	["PRIVACY_PARAMS_MISSING", 0]: [{"op": "remove", "path": "/pipeline/stages/1/privacy"}],
	["PRIVACY_REQUIRED", 0]: [train("isPrivate", false), {"op": "remove", "path": "/pipeline/stages/1/privacy"}],
	["SAMPLES_PER_UNIT_EXCEEDED", 0]: [train("samplesPerUnit", 5)],
	["SAMPLING_RATE_EXCEEDED", 0]: [change("/contract/privacy/0/maxSamplingBillionths", 199999999)],
	["SIGNATURE_MISSING", 0]: [{"op": "remove", "path": "/signatures/0"}],
	["STAGE_INPUT_DIFFERS", 0]: [train("datasets", ["set-a"])],
	["STAGE_ORDER", 0]: [{"op": "remove", "path": "/pipeline/stages/1"}],
	["STAGE_ORDER", 1]: [{
		"op": "add", "path": "/pipeline/stages/-",
		"value": data.depa.examples.training.pipeline.stages[1],
	}],
	["STAGE_UNKNOWN", 0]: [{
		"op": "add", "path": "/pipeline/stages/-",
		"value": {"path": "/pipeline/2", "name": "Noop", "datasets": ["set-a", "set-b"]},
	}],
	["STEPS_EXCEEDED", 0]: [train("steps", 1001)],
	["UNIT_GRADIENT_UNKNOWN", 0]: [train("unitGradient", "sum")],
	["UNIT_MISMATCH", 0]: [train("privacy/unit", "record")],
}

test_a_good_pipeline_is_allowed if {
	decide([]) == {"allow": true, "reasons": set(), "warnings": set(), "policy": data.depa.lib.identity}
}

test_one_data_set_needs_no_join if {
	decide(alone).allow
}

test_public_data_may_be_read_without_differential_privacy if {
	decide(public).allow
}

test_metrics_of_private_data_leave_where_all_grant_them if {
	decide(released).allow
}

test_a_grant_of_metrics_need_not_be_used if {
	decide([patch | some patch in released; startswith(patch.path, "/contract")]).allow
}

test_each_change_is_refused_for_its_reason if {
	every key, patches in refused {
		key[0] in codes(patches)
		decide(patches).allow == false
	}
}

conforms(patches) if {
	facts := json.patch(data.depa.examples.training, patches)
	data.depa.training.conforms with input as facts
}

test_a_good_pipeline_is_judged_by_one_question if {
	conforms([])
	conforms(array.concat(alone, [change("/pipeline/stages/0/baseWeights", [])]))
	not conforms(public)
}

# Of the contract's signatures, of its standing and of whose policy judges, it says nothing.
test_what_is_refused_does_not_conform if {
	found := {key[0] | some key, patches in refused; conforms(patches)}
	found == {"CONTRACT_EXPIRED", "CONTRACT_NOT_EXECUTED", "FACTS_INCOMPLETE", "SIGNATURE_MISSING"}
}

test_data_sets_in_another_order_are_judged_by_each_rule if {
	patches := [
		change("/contract/datasets/0", data.depa.examples.training.contract.datasets[1]),
		change("/contract/datasets/1", data.depa.examples.training.contract.datasets[0]),
	]
	not conforms(patches)
	decide(patches).allow
}

test_an_epsilon_that_is_too_large_is_named_with_what_is_granted if {
	decide([train("privacy/microEpsilon", 9000000), change("/contract/privacy/1/run/microEpsilon", 10000000)]).reasons == {{
		"code": "EPSILON_EXCEEDED",
		"path": "/pipeline/1/config/privacyParams/epsilon",
		"msg": "epsilon 9 asked, at most 8 granted for data set set-a",
	}}
}

test_the_limits_of_each_data_set_count_for_themselves if {
	patches := [change("/contract/privacy/1/run/microEpsilon", 7000000)]
	{reason.msg | some reason in decide(patches).reasons} == {"epsilon 8 asked, at most 7 granted for data set set-b"}
}

test_a_budget_that_is_nearly_spent_is_warned_of if {
	decision := decide([change("/budgets/0/tdcAfter", 9000001)])
	decision.allow
	{warning.code | some warning in decision.warnings} == {"BUDGET_NEARLY_SPENT"}
}

test_warnings_about_the_contract_stand_under_it if {
	decision := decide([change("/contract/expiresAt", data.depa.examples.now + data.depa.examples.day)])
	decision.allow
	{warning.path | some warning in decision.warnings} == {"/contract/expiryTime"}
}
