# METADATA
# title: Reasons and their texts
# description: Whole numbers are written as decimals here, so no engine's floating-point format shows.
package depa.lib

reason(code, path, msg) := {"code": code, "path": path, "msg": msg}

# Quotient of whole numbers, rounded down; exact, since what is divided is a multiple.
quotient(dividend, divisor) := (dividend - (dividend % divisor)) / divisor

# A delta of one over the number of units, or more, lets a whole record out.
grants_a_record(trillionths, units) if trillionths * units >= 1000000000000

epsilon(micro) := decimal(micro, 1000000)

delta(trillionths) := decimal(trillionths, 1000000000000)

norm(micro) := decimal(micro, 1000000)

decimal(number, scale) := format_int(quotient(number, scale), 10) if {
	number % scale == 0
}

decimal(number, scale) := concat(".", [format_int(quotient(number, scale), 10), fraction]) if {
	number % scale != 0

	# The leading 1 keeps the zeros behind the point.
	fraction := trim_right(substring(format_int(scale + (number % scale), 10), 1, -1), "0")
}

listing(values) := "none" if {
	count(values) == 0
}

listing(values) := concat(", ", sort(values)) if {
	count(values) > 0
}

seconds(microseconds) := format_int(quotient(microseconds, 1000000), 10)

# RFC 3339 of Unix microseconds, to the second. The calendar arithmetic is that of
# https://howardhinnant.github.io/date_algorithms.html (civil_from_days), for days since 1970.
instant(microseconds) := sprintf("%v-%v-%vT%v:%v:%vZ", [
	format_int(year, 10), two(month), two(day),
	two(quotient(second, 3600)), two(quotient(second % 3600, 60)), two(second % 60),
]) if {
	total := quotient(microseconds, 1000000)
	second := total % 86400
	shifted := quotient(total, 86400) + 719468
	era := quotient(shifted, 146097)
	era_day := shifted - (era * 146097)
	leaps := (quotient(era_day, 1460) - quotient(era_day, 36524)) + quotient(era_day, 146096)
	era_year := quotient(era_day - leaps, 365)
	year_day := era_day - ((365 * era_year) + (quotient(era_year, 4) - quotient(era_year, 100)))
	march_month := quotient((5 * year_day) + 2, 153)
	day := (year_day - quotient((153 * march_month) + 2, 5)) + 1
	month := ((march_month + 2) % 12) + 1
	year := (era_year + (era * 400)) + quotient(march_month, 10)
}

two(number) := substring(format_int(100 + number, 10), 1, 2)
