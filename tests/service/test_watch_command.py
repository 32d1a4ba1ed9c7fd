"""`depa run watch` and `wait` against a running service: each step once, and how the run ended."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from clients.cli import main
from clients.cli import run as command
from policies.wire.run import Progress
from tests.service.world import Room, World, spent

Follow = Callable[..., tuple[int, str, str]]


def progress(step: int) -> Progress:
    return Progress(
        phase="training",
        step=step,
        steps=40,
        micro_epsilon=200_000 * step,
        micro_epsilon_limit=8_000_000,
        seconds=float(step),
        eta_seconds=40.0 - step,
    )


def played(room: Room, end: Callable[[], None]) -> Iterator[None]:
    """Do what a clean room does, a part each time that somebody looks."""
    room.release()
    yield
    for step in (1, 20, 20, 40):
        room.client.progress(room.run, progress(step))
        yield
    end()
    yield


@pytest.fixture
def follow(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Follow:
    """Run a command as the consumer while a clean room works; return what it says."""

    def run(*arguments: str, working: Iterator[None]) -> tuple[int, str, str]:
        with monkeypatch.context() as scope:
            scope.setattr(command, "connect", lambda *_: world.client())
            scope.setattr(command.time, "sleep", lambda _: next(working))
            code = main.run(["run", *arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def completed(room: Room) -> Callable[[], None]:
    return lambda: room.client.report(room.run, *room.report())


def failed(room: Room) -> Callable[[], None]:
    fields = {"state": "failed", "reason": "not-finite", "model": None, "model_url": None}
    report = {**fields, "spent": spent(12)}
    return lambda: room.client.report(room.run, *room.report(**report))


def a_room(world: World) -> Room:
    return world.room(world.approved(world.executed()).run)


def test_a_run_is_followed_to_its_end(world: World, follow: Follow) -> None:
    room = a_room(world)
    code, out, told = follow("watch", room.run, working=played(room, completed(room)))
    assert code == 0
    assert told.splitlines() == [
        "approved",
        "released",
        "step 1/40  ε 0.20 of 8.00  1.0 s  eta 39 s",
        "step 20/40  ε 4.00 of 8.00  20.0 s  eta 20 s",
        "step 40/40  ε 8.00 of 8.00  40.0 s  eta 0 s",
    ]
    assert f"{room.run} is completed" in out
    assert "in 40 steps" in out


def test_programs_get_the_end_alone(world: World, follow: Follow) -> None:
    room = a_room(world)
    code, out, told = follow("watch", room.run, "--json", working=played(room, completed(room)))
    assert (code, told) == (0, "")
    answer = json.loads(out)
    assert (answer["state"], answer["spent"]["steps"]) == ("completed", 40)


@pytest.mark.parametrize(("word", "code"), [("watch", 0), ("wait", 4)])
def test_a_run_that_failed_is_told_with_its_word_and_what_it_cost(
    world: World, follow: Follow, word: str, code: int
) -> None:
    room = a_room(world)
    got, out, told = follow(word, room.run, working=played(room, failed(room)))
    assert got == code
    assert "not-finite" in out + told
    if word == "watch":
        assert "in 12 steps" in out


def test_whoever_waits_too_long_is_told_how_far_the_run_is(world: World, follow: Follow) -> None:
    room = a_room(world)
    code, _, told = follow(
        "wait", room.run, "--seconds", "0", working=played(room, completed(room))
    )
    assert code == 4
    assert f"{room.run} is still approved after 0 seconds" in told
