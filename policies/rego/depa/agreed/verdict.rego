# METADATA
# title: What there is to say about the terms of a contract, at any time
# description: |
#   Parties, data, privacy limits and policy, from the terms alone: no clock, no signature, no ledger.
#   So the answer is the same for as long as the terms are, and an engine may keep it.
package depa.agreed

import data.depa.lib

verdict := {"complete": true, "deny": deny, "warn": warn, "tables": lends_tables} if {
	complete
	count(deny) > 0
}

verdict := {"complete": true, "deny": deny, "warn": warn, "tables": lends_tables, "tightest": tightest} if {
	complete
	count(deny) == 0
}

# Terms that lack a field are not judged: no rule meets a value of a type that it does not expect.
verdict := {"complete": false, "deny": [], "warn": [], "tables": false} if not complete

deny contains mismatch if {
	some mismatch in data.depa.lib.policy_mismatch
}

complete if {
	data.depa.lib.policy_complete
	terms_complete
	data_complete
	limits_complete
	metrics_complete
	tables_complete
}

terms_complete if {
	lib.is_digest(input.contract.digest)
	is_string(input.contract.schemaVersion)
	is_string(input.contract.purpose)
	lib.is_whole(input.contract.startsAt)
	lib.is_whole(input.contract.expiresAt)
	is_string(input.contract.tdc)
	lib.is_texts(input.contract.tdps)
	is_string(input.contract.ccrp)
	is_string(input.contract.recipient)
	lib.is_texts(input.contract.models)
	lib.is_texts(input.contract.losses)
	lib.is_texts(input.contract.metrics)
	lib.is_texts(input.contract.outputs)
	lib.is_texts(input.contract.unfilled)
	lib.is_whole(input.contract.maxParameters)
	is_string(input.contract.metricsOnPrivateData)
	data.depa.lib.trust_complete
}

data_complete if {
	is_array(input.contract.datasets)
	every item in input.contract.datasets {
		is_string(item.id)
		is_string(item.provider)
		is_string(item.digest)
		is_string(item.key.vault)
		is_string(item.key.name)
		is_number(item.units)
	}
	is_array(input.contract.baseModels)
	every item in input.contract.baseModels {
		is_string(item.id)
		is_string(item.provider)
		is_string(item.digest)
		is_string(item.key.vault)
		is_string(item.key.name)
	}
}

# That the numbers are above zero is asked in privacy.rego.
limits_complete if {
	is_array(input.contract.privacy)
	every limit in input.contract.privacy {
		is_string(limit.dataset)
		is_string(limit.unit)
		is_string(limit.adjacency)

		# Above true and below texts there are numbers alone.
		every number in [
			limit.run.microEpsilon, limit.run.deltaTrillionths,
			limit.total.microEpsilon, limit.total.deltaTrillionths,
			limit.overall.microEpsilon, limit.overall.deltaTrillionths,
			limit.maxGradNormMicro, limit.maxSteps, limit.maxEpochs,
			limit.maxSamplingBillionths, limit.maxSamplesPerUnit, limit.minNoiseMicro,
		] {
			number > true
			number < ""
		}
	}
	is_array(input.contract.dataUse)
	every use in input.contract.dataUse {
		is_string(use.dataset)
		is_boolean(use.join)
		is_boolean(use.privateOnly)
	}
}
