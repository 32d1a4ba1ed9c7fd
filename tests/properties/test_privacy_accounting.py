import json
from fractions import Fraction

from dp_accounting import dp_event
from hypothesis import given, settings
from hypothesis import strategies as st

from policies import accounting
from policies.accounting import Event

SETTINGS = settings(max_examples=8, deadline=None)
LEAVES = st.one_of(
    st.floats(0.1, 100).map(dp_event.GaussianDpEvent),
    st.floats(0.1, 100).map(dp_event.LaplaceDpEvent),
    st.just(dp_event.NoOpDpEvent()),
)
EVENTS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(dp_event.PoissonSampledDpEvent, st.floats(0.001, 1), inner),
        st.builds(dp_event.SelfComposedDpEvent, inner, st.integers(0, 10_000)),
        st.builds(dp_event.ComposedDpEvent, st.lists(inner, max_size=4)),
    ),
    max_leaves=6,
)
ROUNDS = st.builds(
    accounting.training_event,
    noise_multiplier=st.floats(0.6, 8),
    sampling_rate=st.floats(0.005, 1),
    steps=st.integers(1, 300),
)


@settings(max_examples=100, deadline=None)
@given(event=EVENTS)
def test_any_event_survives_its_json_form(event: Event) -> None:
    text = json.dumps(accounting.event_to_json(event))
    assert accounting.event_from_json(json.loads(text)) == event


@SETTINGS
@given(first=ROUNDS, second=ROUNDS)
def test_doing_more_never_costs_less(first: Event, second: Event) -> None:
    one = accounting.compose([first], delta=1e-5, adjacency="add-remove")
    both = accounting.compose([first, second], delta=1e-5, adjacency="add-remove")
    assert both >= one - 1e-3


@SETTINGS
@given(event=ROUNDS)
def test_allowing_less_failure_never_costs_less(event: Event) -> None:
    loose = accounting.compose([event], delta=1e-3, adjacency="add-remove")
    strict = accounting.compose([event], delta=1e-6, adjacency="add-remove")
    assert strict >= loose


@SETTINGS
@given(
    epsilon=st.floats(0.3, 10),
    rate=st.floats(0.02, 0.5),
    steps=st.integers(1, 200),
    delta=st.sampled_from([1e-3, 1e-5]),
)
def test_a_plan_never_costs_more_than_its_target(
    epsilon: float, rate: float, steps: int, delta: float
) -> None:
    agreed = accounting.plan(
        epsilon=epsilon, delta=delta, sampling_rate=rate, steps=steps, adjacency="add-remove"
    )
    assert agreed.cost <= epsilon
    assert accounting.compose([agreed.event], delta=delta, adjacency="add-remove") <= epsilon


@settings(max_examples=200, deadline=None)
@given(epsilon=st.floats(0, 1000, allow_subnormal=False))
def test_micro_epsilon_is_the_least_integer_above(epsilon: float) -> None:
    micro = accounting.micro_epsilon(epsilon)
    exact = Fraction(str(epsilon)) * 10**6
    assert exact <= micro < exact + 1
