from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path

from deploy.local.scratch import remove_folder


def test_a_folder_that_is_written_to_while_it_is_removed_is_gone_in_the_end(tmp_path: Path) -> None:
    folder, over = tmp_path / "scratch", threading.Event()
    folder.mkdir()

    def write() -> None:
        number = 0
        while not over.is_set():
            number += 1
            with suppress(OSError):
                (folder / f"step-{number}").write_bytes(b"of a patient")

    writer = threading.Thread(target=write)
    writer.start()
    threading.Timer(0.3, over.set).start()
    remove_folder(folder)
    writer.join()
    assert not folder.exists()


def test_a_folder_that_is_not_there_is_no_problem(tmp_path: Path) -> None:
    remove_folder(tmp_path / "nothing")
