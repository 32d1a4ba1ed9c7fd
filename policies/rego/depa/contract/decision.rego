# METADATA
# title: Whether a contract holds now
# description: |
#   Window, parties and their signatures, revocation, data, privacy limits and policy. Whether the
#   ledger says that it is executed is asked by the policies that let something happen under it.
package depa.contract

import data.depa.lib

# METADATA
# title: Decision about a contract
# entrypoint: true
# scope: document
decision := {"allow": allow, "reasons": reasons, "warnings": warnings, "policy": data.depa.lib.identity}

default allow := false

allow if {
	complete
	count(deny) == 0
}

# Facts that lack a field are not judged: no rule meets a value of a type that it does not expect.
reasons := deny if complete

reasons := incomplete if not complete

warnings := {warning | complete; some warning in warn}

incomplete contains lib.reason("FACTS_INCOMPLETE", "", msg) if {
	msg := "expected complete facts about a contract; a field is missing or of another type"
}

deny contains mismatch if {
	some mismatch in data.depa.lib.policy_mismatch
}

# Builtins instead of the predicates of depa.lib in loops: this runs for every decision.
complete if {
	lib.is_whole(input.now)
	data.depa.lib.policy_complete
	is_boolean(input.executed)
	lib.is_texts(input.revokedBy)
	lib.is_texts(input.supersededBy)
	is_array(input.signatures)
	every signature in input.signatures {
		is_string(signature.signer)
		is_number(signature.signedAt)
		signature.signedAt > 0
		is_number(signature.keyValidFrom)
		signature.keyValidFrom >= 0
		is_number(signature.keyValidUntil)
	}
	terms_complete
	data_complete
	limits_complete
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
