# METADATA
# title: What is left of the budgets
# description: What would be spent after the run has been composed before; here it is compared, in millionths.
package depa.pipeline

import data.depa.lib

budgeted_ids := {budget.dataset | some budget in input.budgets}

# Data sets that a private stage reads.
charged_ids := {id | some stage in data.depa.training.private_stages; some id in stage.datasets}

deny contains lib.reason("BUDGET_UNKNOWN", "/pipeline", msg) if {
	some id in charged_ids - budgeted_ids
	msg := sprintf("expected to know what is spent on data set %v, got nothing", [id])
}

# Budgets with the limits of their data sets.
budgeted := [{"budget": budget, "limit": limit} |
	some budget in input.budgets
	some limit in input.contract.privacy
	limit.dataset == budget.dataset
]

deny contains lib.reason("BUDGET_EXHAUSTED", "/pipeline", msg) if {
	some pair in budgeted
	budget := pair.budget
	limit := pair.limit
	budget.tdcAfter > limit.total.microEpsilon
	msg := sprintf("epsilon %v would be spent on data set %v by this consumer, at most %v granted", [
		lib.epsilon(budget.tdcAfter),
		budget.dataset,
		lib.epsilon(limit.total.microEpsilon),
	])
}

deny contains lib.reason("BUDGET_OVERALL_EXHAUSTED", "/pipeline", msg) if {
	some pair in budgeted
	budget := pair.budget
	limit := pair.limit
	budget.overallAfter > limit.overall.microEpsilon
	msg := sprintf("epsilon %v would be spent on data set %v by all consumers, at most %v granted", [
		lib.epsilon(budget.overallAfter),
		budget.dataset,
		lib.epsilon(limit.overall.microEpsilon),
	])
}

warn contains lib.reason("BUDGET_NEARLY_SPENT", "/pipeline", msg) if {
	some pair in budgeted
	budget := pair.budget
	limit := pair.limit
	budget.tdcAfter <= limit.total.microEpsilon
	budget.tdcAfter * 10 > limit.total.microEpsilon * 9
	msg := sprintf("epsilon %v of %v would be spent on data set %v", [
		lib.epsilon(budget.tdcAfter),
		lib.epsilon(limit.total.microEpsilon),
		budget.dataset,
	])
}
