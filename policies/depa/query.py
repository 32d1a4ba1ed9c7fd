"""The two kinds of queries that DEPA's table joins have, read by their words and never run.

    SELECT * FROM a, b, c WHERE a.key = b.key AND a.key = c.key
    SELECT * FROM a x LEFT JOIN b y ON x.key = y.key ...

Anything else - a function, a nested query, a comment, a quoted name, another column than the key -
is refused, so that no part of a query is left that somebody would have to understand.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

_WORD: Final = re.compile(r"\s*(?:([A-Za-z_][A-Za-z0-9_]{0,62}|\*)|(==?|,|\.|;\s*\Z))")
_KEYWORDS: Final = frozenset(
    """
    all and anti any as asc between by case cluster cross current delete desc distinct distribute
    drop else end escape except exists false fetch filter for from full function group having in
    inner insert intersect into is join lateral left like limit minus natural not null offset on or
    order outer over pivot qualify right select semi set sort table tablesample then transform true
    union unnest unpivot update using values view when where window with
    """.split()  # noqa: SIM905 - one word a line would be a page
)
"""Words that mean something in some query, so that none of them is the name of a table."""


def joined_tables(query: str, *, key: str) -> tuple[tuple[str, ...], bool]:
    """Return the tables of a query that joins all of them on one key, and whether it keeps rows.

    Returns:
        The names of the tables in their order, and whether the query keeps rows of the first table
        that have no partner in the others (a left join).

    Raises:
        ValueError: saying which part is not a join of tables on the key.
    """
    return _Query(_words(query), key.lower()).read()


def _words(query: str) -> list[str]:
    words, place = [], 0
    while query[place:].strip():
        found = _WORD.match(query, place)
        if found is None:
            raise ValueError(f"{query[place : place + 40].strip()!r} is no part of a join")
        words.append((found[1] or found[2]).strip())
        place = found.end()
    return words[:-1] if words[-1:] == [";"] else words


class _Query:
    """Reads words from the left to the right."""

    def __init__(self, words: list[str], key: str) -> None:
        self._words, self._key = words, key
        self._place = 0
        self._aliases: dict[str, str] = {}
        self._pairs: list[tuple[str, str]] = []
        self._left = False

    def read(self) -> tuple[tuple[str, ...], bool]:
        for word in ("select", "*", "from"):
            self._expect(word)
        tables = [self._table()]
        while self._next() == ",":
            self._expect(",")
            tables.append(self._table())
        if self._next() == "where":
            self._conditions("where")
        while self._next() in ("join", "left", "inner"):
            self._left = self._left or self._next() == "left"
            self._take("left", "inner")
            self._take("outer")
            self._expect("join")
            tables.append(self._table())
            self._conditions("on")
        if self._next():
            raise ValueError(f"{self._next()!r} is no part of a join on one key")
        self._all_joined(tables)
        return tuple(tables), self._left

    def _next(self) -> str:
        return self._words[self._place].lower() if self._place < len(self._words) else ""

    def _expect(self, word: str) -> None:
        if self._next() != word:
            raise ValueError(f"expected {word!r}, got {self._next() or 'the end'!r}")
        self._place += 1

    def _take(self, *words: str) -> None:
        if self._next() in words:
            self._place += 1

    def _name(self) -> str:
        word = self._next()
        if not word or not word[0].isidentifier() or word in _KEYWORDS:
            raise ValueError(f"expected a name, got {word or 'the end'!r}")
        self._place += 1
        return self._words[self._place - 1]

    def _table(self) -> str:
        table = self._name()
        follows = self._next()
        alias = self._name() if follows.isidentifier() and follows not in _KEYWORDS else table
        for name in {alias, table}:
            if self._aliases.setdefault(name, table) != table:
                raise ValueError(f"{name!r} is named twice")
        return table

    def _conditions(self, first: str) -> None:
        self._expect(first)
        self._pair()
        while self._next() == "and":
            self._expect("and")
            self._pair()

    def _pair(self) -> None:
        left = self._column()
        if self._next() not in ("=", "=="):
            raise ValueError(f"expected '=', got {self._next() or 'the end'!r}")
        self._place += 1
        self._pairs.append((left, self._column()))

    def _column(self) -> str:
        alias = self._name()
        self._expect(".")
        column = self._name()
        if alias not in self._aliases:
            raise ValueError(f"{alias!r} is no table of the query")
        if column.lower() != self._key:
            raise ValueError(f"{alias}.{column} is not the joining_key")
        return self._aliases[alias]

    def _all_joined(self, tables: list[str]) -> None:
        if len(set(tables)) != len(tables):
            raise ValueError("a table is named twice")
        owner: Mapping[str, set[str]] = {name: {name} for name in tables}
        groups = dict(owner)
        for left, right in self._pairs:
            together = groups[left] | groups[right]
            groups.update(dict.fromkeys(together, together))
        if len(groups[tables[0]]) != len(tables):
            raise ValueError("a table is not joined with the others on the key")
