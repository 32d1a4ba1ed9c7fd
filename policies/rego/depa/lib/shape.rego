# METADATA
# title: Shapes of facts
# description: |
#   Positive predicates; a value that is missing or of another type satisfies none of them. Rego
#   orders values by type: null, booleans, numbers, strings, arrays. Two comparisons ask for a type in
#   half the time that a builtin takes, and these run for every decision.
package depa.lib

# The largest integer that every JSON reader keeps exactly.
largest_whole := 9007199254740991

is_whole(value) if {
	value >= 0
	value <= largest_whole
	floor(value) == value
}

is_text(value) if {
	value > ""
	value < []
}

# The least and the greatest have the types of all.
is_texts(values) if {
	is_array(values)
	min(values) > ""
	max(values) < []
}

is_texts(values) if values == []

# 71 characters of which all behind the colon are digits: a fifth of the time of a pattern.
is_digest(value) if {
	is_string(value)
	count(value) == 71
	trim_right(value, "0123456789abcdef") == "sha256:"
}

# A vault is reached by TLS or not at all.
is_reachable_key(key) if {
	startswith(key.vault, "https://")
	key.name != ""
}

# Security version numbers of a processor's firmware.
is_tcb(levels) if {
	is_whole(levels.bootloader)
	is_whole(levels.tee)
	is_whole(levels.snp)
	is_whole(levels.microcode)
}
