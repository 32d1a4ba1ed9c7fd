# METADATA
# title: The keys that are asked for
# description: |
#   Each opens a sealed file of the contract that the approved pipeline reads, is the one that the
#   contract names for that file, and is held by the vault that the contract names.
package depa.release

import data.depa.lib

kinds := ["datasets", "baseModels"]

contract_files := {[kind, item.id, item.digest] | some kind in kinds; some item in input.contract[kind]}

files_read := {[kind, id] | some kind in kinds; some id in input.run.reads[kind]}

files_asked := {[key.kind, key.file] | some key in input.request.keys}

files_of(key) := [item |
	some kind in kinds
	kind == key.kind
	some item in input.contract[kind]
	item.id == key.file
]

is_contract_file(file) if file in contract_files

is_read(file) if file in files_read

deny contains lib.reason("KEYS_MISSING", "/request/keys", msg) if {
	count(input.request.keys) == 0
	msg := "expected at least one key to be asked for, got none"
}

deny contains lib.reason("KEYS_MISSING", "/request/keys", msg) if {
	some [kind, file] in files_read - files_asked
	msg := sprintf("expected the key of %v, which the pipeline reads, got none", [place(kind, file)])
}

deny contains lib.reason("KEY_NOT_IN_CONTRACT", path, msg) if {
	some index, key in input.request.keys
	file := [key.kind, key.file, key.digest]
	not is_contract_file(file)
	path := sprintf("/request/keys/%v", [index])
	msg := sprintf("expected a file of the contract, got %v with digest %v", [place(key.kind, key.file), key.digest])
}

deny contains lib.reason("KEY_OF_OTHER_FILE", path, msg) if {
	some index, key in input.request.keys
	some item in files_of(key)
	item.key.name != key.name
	path := sprintf("/request/keys/%v/name", [index])
	msg := sprintf("expected key %v for %v, got %v", [item.key.name, place(key.kind, key.file), key.name])
}

deny contains lib.reason("KEY_AT_OTHER_VAULT", path, msg) if {
	some index, key in input.request.keys
	some item in files_of(key)
	item.key.vault != key.vault
	path := sprintf("/request/keys/%v/vault", [index])
	msg := sprintf("expected the key of %v at %v, got %v", [place(key.kind, key.file), item.key.vault, key.vault])
}

deny contains lib.reason("KEY_NOT_READ", path, msg) if {
	some index, key in input.request.keys
	file := [key.kind, key.file]
	not is_read(file)
	path := sprintf("/request/keys/%v", [index])
	msg := sprintf("expected the key of a file that the pipeline reads, got that of %v", [place(key.kind, key.file)])
}

deny contains lib.reason("KEY_REPEATED", path, msg) if {
	count(files_asked) < count(input.request.keys)
	some index, key in input.request.keys
	some earlier, other in input.request.keys
	earlier < index
	[other.kind, other.file] == [key.kind, key.file]
	path := sprintf("/request/keys/%v", [index])
	msg := sprintf("expected the key of %v once, got it before at %v", [place(key.kind, key.file), earlier])
}

place(kind, file) := sprintf("/%v/%v", [kind, file])
