# METADATA
# title: Tests of the contract policy
package depa.contract_test

decide(patches) := decision if {
	facts := json.patch(data.depa.examples.contract, patches)
	decision := data.depa.contract.decision with input as facts
}

codes(patches) := {reason.code | some reason in decide(patches).reasons}

change(path, value) := {"op": "replace", "path": path, "value": value}

noised := change("/contract/metricsOnPrivateData", "noised")

grant(names, epsilon) := {
	"op": "add", "path": "/contract/privacy/0/privateMetrics",
	"value": {"names": names, "microEpsilon": epsilon},
}

# Each reason with a change that must give it; a number tells several of one reason apart.
refused := {
	["ADJACENCY_UNKNOWN", 0]: [change("/contract/privacy/1/adjacency", "substitute")],
	["BASE_MODEL_DUPLICATE", 0]: [{"op": "add", "path": "/contract/baseModels/-", "value": data.depa.examples.terms.baseModels[0]}],
	["BASE_MODEL_PROVIDER", 0]: [change("/contract/baseModels/0/provider", "did:a")],
	["CONTRACT_EXPIRED", 0]: [change("/contract/expiresAt", data.depa.examples.now)],
	["CONTRACT_NOT_STARTED", 0]: [change("/contract/startsAt", data.depa.examples.now + 1)],
	["CONTRACT_REVOKED", 0]: [change("/revokedBy", ["did:a"])],
	["CONTRACT_SUPERSEDED", 0]: [change("/supersededBy", [data.depa.examples.digest("9")])],
	["DATASETS_MISSING", 0]: [change("/contract/datasets", [])],
	["DATASET_DUPLICATE", 0]: [change("/contract/datasets/1/id", "set-a")],
	["DATA_USE_MISSING", 0]: [{"op": "remove", "path": "/contract/dataUse/1"}],
	["DELTA_GRANTS_A_RECORD", 0]: [change("/contract/privacy/0/run/deltaTrillionths", 5000000000)],
	["DIGEST_INVALID", 0]: [change("/contract/datasets/0/digest", "latest")],
	["DIGEST_INVALID", 1]: [change("/contract/baseModels/0/digest", "sha256:ab")],
	["FACTS_INCOMPLETE", 0]: [{"op": "remove", "path": "/executed"}],
	["FACTS_INCOMPLETE", 1]: [{"op": "remove", "path": "/contract/privacy/0/maxSteps"}],
	["FACTS_INCOMPLETE", 2]: [{"op": "remove", "path": "/bundle"}],
	["FACTS_INCOMPLETE", 3]: [noised, grant("dice_score", 500000)],
	["FACTS_INCOMPLETE", 4]: [noised, grant(["dice_score"], "500000")],
	["GRANT_EMPTY", 0]: [change("/contract/losses", [])],
	["GRANT_EMPTY", 1]: [noised, grant([], 500000)],
	["KEY_INVALID", 0]: [change("/contract/datasets/0/key/vault", "http://a.example")],
	["KEY_INVALID", 1]: [change("/contract/baseModels/0/key/name", "")],
	["LIMIT_DUPLICATE", 0]: [change("/contract/privacy/1/dataset", "set-a")],
	["LIMIT_DUPLICATE", 1]: [change("/contract/dataUse/1/dataset", "set-a")],
	["LIMIT_NOT_NESTED", 0]: [change("/contract/privacy/0/total/microEpsilon", 7999999)],
	["LIMIT_NOT_NESTED", 1]: [change("/contract/privacy/0/overall/deltaTrillionths", 999999999)],
	["LIMIT_NOT_POSITIVE", 0]: [change("/contract/privacy/0/run/microEpsilon", 0)],
	["LIMIT_NOT_POSITIVE", 1]: [change("/contract/privacy/0/maxGradNormMicro", 0)],
	["LIMIT_NOT_POSITIVE", 2]: [change("/contract/privacy/0/minNoiseMicro", 0)],
	["LIMIT_NOT_POSITIVE", 3]: [noised, grant(["dice_score"], 0)],
	["LIMIT_UNKNOWN_DATASET", 0]: [change("/contract/privacy/1/dataset", "set-c")],
	["LIMIT_UNKNOWN_DATASET", 1]: [change("/contract/dataUse/1/dataset", "set-c")],
	["METRICS_GRANT_TOO_LARGE", 0]: [noised, grant(["dice_score"], 8000001)],
	["METRICS_TERMS_DIFFER", 0]: [grant(["dice_score"], 500000)],
	["METRICS_TERMS_DIFFER", 1]: [noised],
	["METRICS_TERMS_UNKNOWN", 0]: [change("/contract/metricsOnPrivateData", "released")],
	["METRIC_UNBOUNDED", 0]: [noised, grant(["dice_score", "roc_auc"], 500000)],
	["PARTY_DUPLICATE", 0]: [change("/contract/ccrp", "did:tdc")],
	["PARTY_DUPLICATE", 1]: [change("/contract/tdps/1", "did:a")],
	["PARTY_MISSING", 0]: [change("/contract/tdc", "")],
	["PARTY_MISSING", 1]: [change("/contract/tdps", [])],
	["PARTY_RULE_DIGEST", 0]: [change("/contract/policy/partyRules/0/digest", "latest")],
	["PARTY_RULE_DUPLICATE", 0]: [{"op": "add", "path": "/contract/policy/partyRules/-", "value": {"provider": "did:b", "name": "a", "digest": data.depa.examples.digest("6")}}],
	["PARTY_RULE_OF_STRANGER", 0]: [change("/contract/policy/partyRules/0/provider", "did:tdc")],
	["PLACEHOLDER_LEFT", 0]: [change("/contract/unfilled", ["/title"])],
	["POLICY_MISMATCH", 0]: [change("/bundle/digest", data.depa.examples.digest("9"))],
	["POLICY_MISMATCH", 1]: [change("/contract/policy/id", "other")],
	["POLICY_MISMATCH", 2]: [change("/contract/policy/version", "0.9.0")],
	["PRIVACY_MISSING", 0]: [{"op": "remove", "path": "/contract/privacy/1"}],
	["PROVIDER_UNKNOWN", 0]: [change("/contract/datasets/0/provider", "did:stranger")],
	["PROVIDER_WITHOUT_DATA", 0]: [change("/contract/datasets/1/provider", "did:a")],
	["PURPOSE_NOT_ALLOWED", 0]: [change("/contract/purpose", "MARKETING")],
	["RECIPIENT_NOT_CONSUMER", 0]: [change("/contract/recipient", "did:a")],
	["SCHEMA_UNSUPPORTED", 0]: [change("/contract/schemaVersion", "0.1")],
	["SIGNATURE_KEY_NOT_VALID", 0]: [change("/signatures/1/keyValidFrom", data.depa.examples.now)],
	["SIGNATURE_KEY_NOT_VALID", 1]: [change("/signatures/1/keyValidUntil", data.depa.examples.now - 1000001)],
	["SIGNATURE_MISSING", 0]: [{"op": "remove", "path": "/signatures/2"}],
	["SIGNATURE_MISSING", 1]: [change("/signatures", [])],
	["SIGNATURE_OF_STRANGER", 0]: [change("/signatures/2/signer", "did:stranger")],
	["SIGNATURE_TIME", 0]: [change("/signatures/0/signedAt", data.depa.examples.now + 300000001)],
	["SIGNATURE_TIME", 1]: [change("/contract/expiresAt", data.depa.examples.now - 1000000)],
	["TRUST_TERMS_EMPTY", 0]: [change("/contract/attestation/hostData", [])],
	["UNITS_NOT_POSITIVE", 0]: [change("/contract/datasets/0/units", 0)],
	["UNIT_UNKNOWN", 0]: [change("/contract/privacy/0/unit", "slice")],
	["WINDOW_INVALID", 0]: [change("/contract/expiresAt", data.depa.examples.terms.startsAt)],
}

test_a_good_contract_is_allowed if {
	decide([]) == {"allow": true, "reasons": set(), "warnings": set(), "policy": data.depa.lib.identity}
}

test_a_contract_may_grant_metrics_of_one_data_set if {
	decide([noised, grant(["dice_score", "mse"], 8000000)]).allow
}

test_each_change_is_refused_for_its_reason if {
	every key, patches in refused {
		key[0] in codes(patches)
		decide(patches).allow == false
	}
}

test_reasons_point_into_the_contract if {
	reasons := decide(refused[["SIGNATURE_MISSING", 0]]).reasons
	reasons == {{
		"code": "SIGNATURE_MISSING",
		"path": "/tdps/1",
		"msg": "expected a signature of did:b, got none",
	}}
}

test_an_expiry_within_a_week_is_warned_of if {
	decision := decide([change("/contract/expiresAt", data.depa.examples.now + data.depa.examples.day)])
	decision.allow
	{warning.code | some warning in decision.warnings} == {"CONTRACT_EXPIRES_SOON"}
}

test_a_total_delta_that_grants_a_record_is_warned_of if {
	decision := decide([
		change("/contract/privacy/0/total/deltaTrillionths", 5000000000),
		change("/contract/privacy/0/overall/deltaTrillionths", 5000000000),
	])
	decision.allow
	{warning.code | some warning in decision.warnings} == {"TOTAL_DELTA_GRANTS_A_RECORD"}
}
