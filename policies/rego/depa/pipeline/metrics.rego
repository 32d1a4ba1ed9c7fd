# METADATA
# title: What is told about a model
# description: |
#   Metrics of public data as the contract names them. Metrics of private data leave where each data
#   set that the stage reads grants them, within its share, and with noise that every charge pays for.
package depa.pipeline

import data.depa.lib

is_granted_metric(name) if name in input.contract.metrics

is_lent(id, name) if {
	some limit in input.contract.privacy
	limit.dataset == id
	name in limit.privateMetrics.names
}

may_leave(metric) if metric.on == "public"

may_leave(metric) if {
	metric.on == "private"
	input.contract.metricsOnPrivateData == "noised"
}

deny contains lib.reason("METRIC_NOT_ALLOWED", path, msg) if {
	some stage in data.depa.training.training_stages
	some metric in stage.metrics
	metric.on == "public"
	name := metric.name
	not is_granted_metric(name)
	path := concat("", [stage.path, "/config/metrics"])
	msg := sprintf("expected one of %v, got %v", [lib.listing(input.contract.metrics), name])
}

deny contains lib.reason("METRICS_WITHHELD", path, msg) if {
	some stage in data.depa.training.training_stages
	some metric in stage.metrics
	not may_leave(metric)
	path := concat("", [stage.path, "/config/privateMetrics"])
	msg := sprintf("%v asked of private data, expected metrics of public data alone", [metric.name])
}

deny contains lib.reason("METRIC_NOT_LENT", path, msg) if {
	some stage in data.depa.training.training_stages
	some metric in stage.metrics
	metric.on == "private"
	may_leave(metric)
	name := metric.name
	some id in stage.datasets
	not is_lent(id, name)
	path := concat("", [stage.path, "/config/privateMetrics/metrics"])
	msg := sprintf("%v asked of data set %v, which does not grant it", [name, id])
}

deny contains lib.reason("METRICS_SHARE_EXCEEDED", path, msg) if {
	some stage in data.depa.training.training_stages
	some limit in input.contract.privacy
	stage.privateMetricsMicroEpsilon > limit.privateMetrics.microEpsilon
	limit.dataset in stage.datasets
	path := concat("", [stage.path, "/config/privateMetrics/epsilon"])
	msg := sprintf("epsilon %v asked for metrics, at most %v granted for data set %v", [
		lib.epsilon(stage.privateMetricsMicroEpsilon),
		lib.epsilon(limit.privateMetrics.microEpsilon),
		limit.dataset,
	])
}

asks_of_private(stage) if {
	some metric in stage.metrics
	metric.on == "private"
}

pays_for_metrics(stage) if {
	stage.isPrivate == true
	stage.privateMetricsMicroEpsilon > 0
	every charge in input.charges {
		charge.metricsNoiseMicro > 0
	}
}

deny contains lib.reason("METRICS_UNPAID", path, msg) if {
	some stage in data.depa.training.training_stages
	input.contract.metricsOnPrivateData == "noised"
	asks_of_private(stage)
	not pays_for_metrics(stage)
	path := concat("", [stage.path, "/config/privateMetrics"])
	msg := "expected an epsilon for metrics of private data and noise in every charge, got none"
}

deny contains lib.reason("MECHANISM_DIFFERS", path, msg) if {
	some stage in data.depa.training.training_stages
	not asks_of_private(stage)
	some charge in input.charges
	charge.metricsNoiseMicro > 0
	path := concat("", [stage.path, "/config"])
	msg := sprintf("expected %v to be charged for training alone, got a charge for metrics", [charge.dataset])
}

deny contains lib.reason("MECHANISM_DIFFERS", path, msg) if {
	some stage in data.depa.training.training_stages
	not asks_of_private(stage)
	stage.privateMetricsMicroEpsilon > 0
	path := concat("", [stage.path, "/config/privateMetrics/epsilon"])
	msg := sprintf("epsilon %v kept for metrics of private data, expected none where none is asked for", [lib.epsilon(stage.privateMetricsMicroEpsilon)])
}
