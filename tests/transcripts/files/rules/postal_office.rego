# METADATA
# title: Rules of the Postal Office
# description: What the office grants for a quarter of a year, and no longer.
package depa.party.postal_office

day := 24 * 60 * 60 * 1000000

# METADATA
# title: The contract is too long
# custom:
#   code: PARTY_TOO_LONG
#   remedy: Draft a contract of at most 90 days.
deny contains {"code": "PARTY_TOO_LONG", "path": "/contract/expiryTime", "msg": msg} if {
	length := input.contract.expiresAt - input.contract.startsAt
	length > 90 * day
	msg := "expected a contract of at most 90 days"
}

# METADATA
# title: The run trains long
# custom:
#   code: PARTY_LONG_RUN
#   remedy: Say in the run's name why it needs so many steps.
warn contains {"code": "PARTY_LONG_RUN", "path": stage.path, "msg": msg} if {
	input.question == "training"
	some stage in input.pipeline.stages
	stage.steps > 100
	msg := sprintf("expected at most 100 steps, got %v", [stage.steps])
}
