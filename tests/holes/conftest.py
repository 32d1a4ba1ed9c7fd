from __future__ import annotations

import torch

from tests.service.conftest import empty_world, executed, world

__all__ = ["empty_world", "executed", "world"]

# The networks of these tests are too small for threads to help.
torch.set_num_threads(1)
