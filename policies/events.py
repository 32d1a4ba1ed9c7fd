"""Privacy mechanisms as JSON: what budgets book and ledgers keep.

The form is that of `dp_accounting`'s `DpEvent.to_named_tuple`. Reading dispatches on a closed list
of class names; that library's own reader imports whatever module the document names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from dp_accounting import dp_event

from policies.errors import BudgetError, DocumentError, Problem
from policies.wire.run import MAX_COUNT, MAX_NOISE

Event = dp_event.DpEvent

_MAX_EVENTS: Final = 10_000
_MAX_DEPTH: Final = 8
_MODULE: Final = "dp_accounting.dp_event"


def event_to_json(event: Event) -> dict[str, Any]:
    """Return an event in the JSON form of `DpEvent.to_named_tuple`.

    Raises:
        BudgetError: if the event is not one of those that budgets hold.
    """
    match event:
        case dp_event.NoOpDpEvent():
            fields: dict[str, Any] = {}
        case dp_event.GaussianDpEvent() | dp_event.LaplaceDpEvent():
            fields = {"noise_multiplier": float(event.noise_multiplier)}
        case dp_event.PoissonSampledDpEvent():
            fields = {
                "sampling_probability": float(event.sampling_probability),
                "event": event_to_json(event.event),
            }
        case dp_event.SelfComposedDpEvent():
            fields = {"event": event_to_json(event.event), "count": int(event.count)}
        case dp_event.ComposedDpEvent():
            fields = {"events": [event_to_json(item) for item in event.events]}
        case _:
            raise BudgetError(f"event {type(event).__name__} is not one that a budget holds")
    return {"module_name": _MODULE, "class_name": type(event).__name__, **fields}


def event_from_json(value: Any) -> Event:
    """Read an event; only the classes that `event_to_json` writes, each with exactly its fields.

    Raises:
        DocumentError: naming the field that is missing, unknown or out of range.
    """
    return _Reader().event(value, "", depth=0)


class _Reader:
    """Reads one event document; counts its events, since they nest."""

    def __init__(self) -> None:
        self._events = 0

    def event(self, value: Any, at: str, *, depth: int) -> Event:
        self._events += 1
        if depth > _MAX_DEPTH or self._events > _MAX_EVENTS:
            raise _refused(at, "has too many events or too many levels")
        if not isinstance(value, dict) or value.get("module_name") != _MODULE:
            raise _refused(at, f"is not an event of {_MODULE}")
        match value.get("class_name"):
            case "NoOpDpEvent":
                self._fields(value, at)
                return dp_event.NoOpDpEvent()
            case "GaussianDpEvent":
                self._fields(value, at, "noise_multiplier")
                return dp_event.GaussianDpEvent(_number(value, at, "noise_multiplier", MAX_NOISE))
            case "LaplaceDpEvent":
                self._fields(value, at, "noise_multiplier")
                return dp_event.LaplaceDpEvent(_number(value, at, "noise_multiplier", MAX_NOISE))
            case "PoissonSampledDpEvent":
                self._fields(value, at, "sampling_probability", "event")
                rate = _number(value, at, "sampling_probability", 1.0)
                inner = self.event(value["event"], f"{at}/event", depth=depth + 1)
                return dp_event.PoissonSampledDpEvent(rate, inner)
            case "SelfComposedDpEvent":
                self._fields(value, at, "event", "count")
                count = value["count"]
                if type(count) is not int or not 0 <= count <= MAX_COUNT:
                    raise _refused(f"{at}/count", f"is not a whole number from 0 to {MAX_COUNT}")
                return dp_event.SelfComposedDpEvent(
                    self.event(value["event"], f"{at}/event", depth=depth + 1), count
                )
            case "ComposedDpEvent":
                self._fields(value, at, "events")
                if not isinstance(value["events"], list):
                    raise _refused(f"{at}/events", "is not a list")
                return dp_event.ComposedDpEvent(
                    [
                        self.event(item, f"{at}/events/{index}", depth=depth + 1)
                        for index, item in enumerate(value["events"])
                    ]
                )
        raise _refused(f"{at}/class_name", "is not an event that a budget holds")

    @staticmethod
    def _fields(value: Mapping[str, Any], at: str, *names: str) -> None:
        wanted = {"module_name", "class_name", *names}
        for name in sorted(wanted ^ set(value)):
            raise _refused(f"{at}/{name}", "is missing" if name in wanted else "unknown field")


def _number(value: Mapping[str, Any], at: str, name: str, most: float) -> float:
    number = value[name]
    if type(number) not in (int, float) or not 0 < number <= most:
        raise _refused(f"{at}/{name}", f"is not a number above 0 and up to {most:g}")
    return float(number)


def _refused(pointer: str, message: str) -> DocumentError:
    return DocumentError("privacy event", [Problem(pointer, message)])
