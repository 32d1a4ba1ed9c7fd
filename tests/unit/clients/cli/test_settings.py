from __future__ import annotations

from pathlib import Path

import pytest

from clients.cli.errors import UsageError
from clients.cli.settings import read_settings, write_settings


def test_the_environment_wins_over_the_file_and_says_so(tmp_path: Path) -> None:
    write_settings(tmp_path, {"service": "https://file.example", "root": "ab"})
    found = read_settings(tmp_path, environment={"DEPA_SERVICE": "https://env.example"})
    assert found.get("service") == "https://env.example"
    assert found.values["service"].origin == "environment variable DEPA_SERVICE"
    assert found.values["root"].origin == str(tmp_path / "depa.toml")
    assert found.values["vault"].origin == "not set"


def test_setting_one_value_keeps_the_others(tmp_path: Path) -> None:
    write_settings(tmp_path, {"service": "https://a.example"})
    write_settings(tmp_path, {"root": 'quote " and \\'})
    found = read_settings(tmp_path, environment={})
    assert (found.get("service"), found.get("root")) == ("https://a.example", 'quote " and \\')


def test_a_needed_setting_that_is_missing_says_where_to_set_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        read_settings(tmp_path, environment={}).need("launch_policy")
    assert "DEPA_LAUNCH_POLICY" in caught.value.hint
    assert "depa.toml" in caught.value.hint


@pytest.mark.parametrize("text", ["colour = 'blue'", "service = 3", "= no toml"])
def test_a_file_with_anything_unknown_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "depa.toml").write_text(text)
    with pytest.raises(UsageError):
        read_settings(tmp_path, environment={})


def test_an_unknown_setting_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown setting colour"):
        write_settings(tmp_path, {"colour": "blue"})
    assert not (tmp_path / "depa.toml").exists()
