# METADATA
# title: What may leave of metrics of private data
# description: |
#   Nothing, or what a data set grants: with noise, within what a run may spend, and never what one
#   unit can change without bound.
package depa.agreed

import data.depa.lib

is_metrics_term(term) if term in {"withheld", "noised"}

has_no_bound(metric) if metric in {"hausdorff_distance", "precision_recall_curve", "r2_score", "roc_auc", "roc_curve"}

# Grants with the limits that they stand in.
metrics_grants := [{"at": index, "limit": limit, "grant": limit.privateMetrics} |
	some index, limit in input.contract.privacy
]

deny contains lib.reason("METRICS_TERMS_UNKNOWN", "/constraints/metricsOnPrivateData", msg) if {
	term := input.contract.metricsOnPrivateData
	not is_metrics_term(term)
	msg := sprintf("expected withheld or noised, got %v", [term])
}

deny contains lib.reason("METRICS_TERMS_DIFFER", "/constraints/metricsOnPrivateData", msg) if {
	input.contract.metricsOnPrivateData != "noised"
	some item in metrics_grants
	msg := sprintf("expected noised, as %v grants metrics, got %v", [
		item.limit.dataset,
		input.contract.metricsOnPrivateData,
	])
}

deny contains lib.reason("METRICS_TERMS_DIFFER", "/constraints/metricsOnPrivateData", msg) if {
	input.contract.metricsOnPrivateData == "noised"
	count(metrics_grants) == 0
	msg := "expected a data set that grants metrics, got none"
}

deny contains lib.reason("GRANT_EMPTY", path, msg) if {
	some item in metrics_grants
	count(item.grant.names) == 0
	path := sprintf("/constraints/privacy/%v/privateMetrics/metrics", [item.at])
	msg := sprintf("expected at least one metric of %v, got none", [item.limit.dataset])
}

deny contains lib.reason("LIMIT_NOT_POSITIVE", path, msg) if {
	some item in metrics_grants
	item.grant.microEpsilon <= 0
	path := sprintf("/constraints/privacy/%v/privateMetrics/epsilon", [item.at])
	msg := sprintf("expected an epsilon above zero for metrics of %v, got one that is not", [item.limit.dataset])
}

deny contains lib.reason("METRICS_GRANT_TOO_LARGE", path, msg) if {
	some item in metrics_grants
	item.grant.microEpsilon > item.limit.run.microEpsilon
	path := sprintf("/constraints/privacy/%v/privateMetrics/epsilon", [item.at])
	msg := sprintf("metrics of %v may cost epsilon %v, the run that they are part of only %v", [
		item.limit.dataset,
		lib.epsilon(item.grant.microEpsilon),
		lib.epsilon(item.limit.run.microEpsilon),
	])
}

deny contains lib.reason("METRIC_UNBOUNDED", path, msg) if {
	some item in metrics_grants
	some name in item.grant.names
	has_no_bound(name)
	path := sprintf("/constraints/privacy/%v/privateMetrics/metrics", [item.at])
	msg := sprintf("expected metrics that one unit changes by a bounded amount, got %v", [name])
}

metrics_complete if {
	every item in metrics_grants {
		lib.is_texts(item.grant.names)
		is_number(item.grant.microEpsilon)
	}
}
