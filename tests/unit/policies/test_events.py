import json
import math

import pytest
from dp_accounting import dp_event

from policies.accounting import training_event
from policies.errors import DocumentError
from policies.events import event_from_json, event_to_json


def test_events_survive_their_json_form() -> None:
    event = dp_event.ComposedDpEvent(
        [
            training_event(noise_multiplier=1.1337, sampling_rate=1 / 3, steps=100),
            dp_event.LaplaceDpEvent(2.5),
            dp_event.NoOpDpEvent(),
        ]
    )
    assert event_from_json(json.loads(json.dumps(event_to_json(event)))) == event


def test_json_form_is_that_of_the_accounting_library() -> None:
    event = training_event(noise_multiplier=1.5, sampling_rate=0.25, steps=7)
    names = event.to_named_tuple()
    value = event_to_json(event)
    assert value["module_name"] == names.module_name
    assert value["class_name"] == names.class_name
    assert value["event"]["sampling_probability"] == names.event.sampling_probability


GOOD = event_to_json(training_event(noise_multiplier=1.0, sampling_rate=0.5, steps=3))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"module_name": "os"}, "is not an event of"),
        ({"class_name": "system"}, "/class_name"),
        ({"class_name": "NonPrivateDpEvent"}, "/class_name"),
        ({"count": -1}, "/count"),
        ({"count": True}, "/count"),
        ({"count": 10**9}, "/count"),
        ({"count": 2.0}, "/count"),
        ({"more": 1}, "/more: unknown field"),
        ({"event": None}, "/event"),
    ],
)
def test_an_event_is_refused_for_anything_off_the_list(
    change: dict[str, object], says: str
) -> None:
    with pytest.raises(DocumentError, match=says):
        event_from_json({**GOOD, **change})


@pytest.mark.parametrize("noise", [0, -1.0, "1", None, True, math.nan, math.inf])
def test_an_event_is_refused_for_noise_that_is_no_number(noise: object) -> None:
    value = {"module_name": "dp_accounting.dp_event", "class_name": "GaussianDpEvent"}
    with pytest.raises(DocumentError, match="noise_multiplier"):
        event_from_json({**value, "noise_multiplier": noise})


def test_an_event_is_refused_when_it_nests_too_deep() -> None:
    value = GOOD
    for _ in range(20):
        value = {
            "module_name": "dp_accounting.dp_event",
            "class_name": "SelfComposedDpEvent",
            "event": value,
            "count": 2,
        }
    with pytest.raises(DocumentError, match="too many"):
        event_from_json(value)
