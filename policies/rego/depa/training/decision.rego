# METADATA
# title: Whether a pipeline may run under a contract
# description: |
#   The contract must hold and be executed; then every stage is judged against the limits of every
#   data set that it reads, and against what is left of their budgets. Reasons about the contract
#   stand under /contract.
package depa.training

import data.depa.lib

# METADATA
# title: Decision about a pipeline
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
	msg := "expected complete facts about a pipeline; a field is missing or of another type"
}

deny contains under_contract if {
	some found in data.depa.contract.deny
	under_contract := lib.reason(found.code, concat("", ["/contract", found.path]), found.msg)
}

warn contains under_contract if {
	some found in data.depa.contract.warn
	under_contract := lib.reason(found.code, concat("", ["/contract", found.path]), found.msg)
}

executed if input.executed == true

deny contains lib.reason("CONTRACT_NOT_EXECUTED", "/contract", msg) if {
	not executed
	msg := "expected a contract that all parties have signed on the ledger, got one that is not executed"
}
