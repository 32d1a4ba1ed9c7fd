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
# scope: rule
decision := {"allow": allow, "reasons": deny, "warnings": warn}

default allow := false

allow if {
	count(deny) == 0
	complete
}

deny contains lib.reason("FACTS_INCOMPLETE", "", msg) if {
	not complete
	msg := "expected complete facts about a contract; a field is missing or of another type"
}

deny contains mismatch if {
	some mismatch in data.depa.lib.policy_mismatch
}

complete if {
	lib.is_whole(input.now)
	data.depa.lib.policy_complete
	is_boolean(input.executed)
	lib.is_texts(input.revokedBy)
	lib.is_texts(input.supersededBy)
	is_array(input.signatures)
	every signature in input.signatures {
		lib.is_text(signature.signer)
		lib.is_whole(signature.signedAt)
	}
	terms_complete
	data_complete
	limits_complete
}

terms_complete if {
	lib.is_digest(input.contract.digest)
	lib.is_text(input.contract.schemaVersion)
	lib.is_text(input.contract.purpose)
	lib.is_whole(input.contract.startsAt)
	lib.is_whole(input.contract.expiresAt)
	is_string(input.contract.tdc)
	lib.is_texts(input.contract.tdps)
	is_string(input.contract.ccrp)
	lib.is_text(input.contract.recipient)
	lib.is_texts(input.contract.models)
	lib.is_whole(input.contract.maxParameters)
	lib.is_text(input.contract.metricsOnPrivateData)
	lib.is_texts(input.contract.attestation.authorities)
	lib.is_texts(input.contract.attestation.hostData)
	lib.is_texts(input.contract.attestation.compliance)
	lib.is_whole(input.contract.attestation.minimumGuestSvn)
	lib.is_whole(input.contract.attestation.maxTokenAge)
}

data_complete if {
	is_array(input.contract.datasets)
	every item in input.contract.datasets {
		sealed_complete(item)
		lib.is_whole(item.units)
		item.units > 0
	}
	is_array(input.contract.baseModels)
	every item in input.contract.baseModels {
		sealed_complete(item)
	}
}

sealed_complete(item) if {
	lib.is_text(item.id)
	lib.is_text(item.provider)
	lib.is_text(item.digest)
	is_string(item.key.vault)
	is_string(item.key.name)
}

limits_complete if {
	is_array(input.contract.privacy)
	every limit in input.contract.privacy {
		lib.is_text(limit.dataset)
		lib.is_spend(limit.run)
		lib.is_spend(limit.total)
		lib.is_spend(limit.overall)
		lib.is_text(limit.unit)
		lib.is_text(limit.adjacency)
		lib.is_whole(limit.maxGradNormMicro)
		lib.is_whole(limit.maxSteps)
	}
	is_array(input.contract.dataUse)
	every use in input.contract.dataUse {
		lib.is_text(use.dataset)
		is_boolean(use.join)
		is_boolean(use.privateOnly)
	}
}
