# METADATA
# title: What is lent
# description: Every file is pinned by digest and opened by a named key; every data set has an owner and limits.
package depa.agreed

import data.depa.lib

dataset_ids := {item.id | some item in input.contract.datasets}

limited_ids := {limit.dataset | some limit in input.contract.privacy}

used_ids := {use.dataset | some use in input.contract.dataUse}

is_provider(party) if party in providers

deny contains lib.reason("DATASETS_MISSING", "/datasets", msg) if {
	count(input.contract.datasets) == 0
	msg := "expected at least one data set, got none"
}

deny contains lib.reason("DATASET_DUPLICATE", "/datasets", msg) if {
	count(dataset_ids) < count(input.contract.datasets)
	msg := sprintf("expected %v different ids, got %v", [count(input.contract.datasets), count(dataset_ids)])
}

base_model_ids := {item.id | some item in input.contract.baseModels}

deny contains lib.reason("BASE_MODEL_DUPLICATE", "/baseModels", msg) if {
	count(base_model_ids) < count(input.contract.baseModels)
	msg := sprintf("expected %v different ids, got %v", [count(input.contract.baseModels), count(base_model_ids)])
}

deny contains lib.reason("UNITS_NOT_POSITIVE", path, msg) if {
	some index, item in input.contract.datasets
	item.units <= 0
	path := sprintf("/datasets/%v/units", [index])
	msg := sprintf("expected the number of units in %v above zero, got none", [item.id])
}

deny contains lib.reason("DIGEST_INVALID", path, msg) if {
	some field in ["datasets", "baseModels"]
	some index, item in input.contract[field]
	digest := item.digest
	not lib.is_digest(digest)
	path := sprintf("/%v/%v/digest", [field, index])
	msg := sprintf("expected sha256: and 64 hexadecimal digits for %v, got %v", [item.id, digest])
}

deny contains lib.reason("KEY_INVALID", path, msg) if {
	some field in ["datasets", "baseModels"]
	some index, item in input.contract[field]
	key := item.key
	not lib.is_reachable_key(key)
	path := sprintf("/%v/%v/key", [field, index])
	msg := sprintf("expected the https URL of a vault and a name for the key of %v, got another", [item.id])
}

deny contains lib.reason("PROVIDER_UNKNOWN", path, msg) if {
	some index, item in input.contract.datasets
	provider := item.provider
	not is_provider(provider)
	path := sprintf("/datasets/%v/provider", [index])
	msg := sprintf("expected one of the contract's data providers for %v, got %v", [item.id, provider])
}

lenders := {item.provider | some item in input.contract.datasets}

deny contains lib.reason("PROVIDER_WITHOUT_DATA", path, msg) if {
	some index, party in input.contract.tdps
	party in providers - lenders
	path := sprintf("/tdps/%v", [index])
	msg := sprintf("expected a data set of each data provider, got none of %v", [party])
}

deny contains lib.reason("BASE_MODEL_PROVIDER", path, msg) if {
	some index, item in input.contract.baseModels
	item.provider != input.contract.tdc
	path := sprintf("/baseModels/%v/provider", [index])
	msg := sprintf("expected the consumer %v for %v, got %v", [input.contract.tdc, item.id, item.provider])
}

deny contains lib.reason("PRIVACY_MISSING", "/constraints/privacy", msg) if {
	some id in dataset_ids - limited_ids
	msg := sprintf("expected privacy limits for data set %v, got none", [id])
}

deny contains lib.reason("DATA_USE_MISSING", "/constraints/dataUse", msg) if {
	some id in dataset_ids - used_ids
	msg := sprintf("expected terms of use for data set %v, got none", [id])
}

deny contains lib.reason("LIMIT_UNKNOWN_DATASET", "/constraints/privacy", msg) if {
	some id in limited_ids - dataset_ids
	msg := sprintf("expected limits for data sets of the contract alone, got some for %v", [id])
}

deny contains lib.reason("LIMIT_UNKNOWN_DATASET", "/constraints/dataUse", msg) if {
	some id in used_ids - dataset_ids
	msg := sprintf("expected terms for data sets of the contract alone, got some for %v", [id])
}

deny contains lib.reason("LIMIT_DUPLICATE", "/constraints/privacy", msg) if {
	count(limited_ids) < count(input.contract.privacy)
	msg := sprintf("expected limits for %v different data sets, got %v", [count(input.contract.privacy), count(limited_ids)])
}

deny contains lib.reason("LIMIT_DUPLICATE", "/constraints/dataUse", msg) if {
	count(used_ids) < count(input.contract.dataUse)
	msg := sprintf("expected terms for %v different data sets, got %v", [count(input.contract.dataUse), count(used_ids)])
}
