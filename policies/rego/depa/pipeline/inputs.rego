# METADATA
# title: The files that are opened
# description: Those that the stages read and no others, as the contract pins them, and never to write.
package depa.pipeline

import data.depa.lib

input_ids := [file.id | some file in input.pipeline.inputs]

deny contains lib.reason("INPUTS_DIFFER", source_path, msg) if {
	input_ids != source.datasets
	msg := sprintf("expected to open what the stages read (%v), got %v", [lib.listing(source_ids), lib.listing(input_ids)])
}

opened := {[file.id, file.digest] | some file in input.pipeline.inputs}

pinned := {[item.id, item.digest] | some item in input.contract.datasets}

deny contains lib.reason("INPUT_DIGEST_DIFFERS", source_path, msg) if {
	some pair in opened - pinned
	some item in input.contract.datasets
	item.id == pair[0]
	msg := sprintf("expected %v as %v, got %v", [item.id, item.digest, pair[1]])
}

deny contains lib.reason("INPUT_NOT_READ_ONLY", source_path, msg) if {
	some file in input.pipeline.inputs
	file.access != "read"
	msg := sprintf("expected %v to be opened for reading, got %v", [file.id, file.access])
}

deny contains lib.reason("FOREIGN_TEXT", path, msg) if {
	some path in input.pipeline.foreignTexts
	msg := "expected names of what the clean room offers, got a path, a URL or a device"
}
