import logging
import pickle

import numpy as np
import pytest

from trainer.privacy.csprng import SecureStream, UnsafeSeededStream
from trainer.privacy.streams import Streams


def test_two_streams_never_repeat_each_other() -> None:
    assert (SecureStream().words(64) != SecureStream().words(64)).all()


def test_a_stream_does_not_repeat_itself() -> None:
    stream = SecureStream()
    assert len(np.unique(np.concatenate([stream.words(1000), stream.words(1000)]))) == 2000


def test_uniform_numbers_lie_above_zero_and_are_even() -> None:
    values = UnsafeSeededStream(1).uniform(200_000)
    assert values.min() > 0
    assert values.max() <= 1
    assert values.mean() == pytest.approx(0.5, abs=3 * 0.2887 / 447)
    counts = np.histogram(values, bins=20, range=(0, 1))[0]
    assert ((counts - 10_000) ** 2 / 10_000).sum() < 50  # chi square, 19 degrees of freedom


def test_integers_stay_below_their_bound() -> None:
    values = UnsafeSeededStream(2).integers(10_000, below=7)
    assert set(values.tolist()) == set(range(7))
    with pytest.raises(ValueError, match="below"):
        SecureStream().integers(1, below=0)


def test_a_seeded_stream_says_that_it_is_unsafe(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        first, second = UnsafeSeededStream(3), UnsafeSeededStream(3)
    assert "UNSAFE" in caplog.text
    assert (first.words(8) == second.words(8)).all()


def test_streams_of_one_seed_differ_by_purpose() -> None:
    streams = Streams.unsafe_seeded(4)
    assert (streams.noise.words(8) != streams.sampling.words(8)).all()


def test_a_stream_is_never_stored_or_shown() -> None:
    stream = SecureStream()
    with pytest.raises(TypeError, match="never stored"):
        pickle.dumps(stream)
    assert repr(stream) == "SecureStream()"
