"""What the model side of training refuses.

* DepaError
  + ModelRefused      a base model is damaged, too large, or uses what is not on the list
"""

from __future__ import annotations

from policies.errors import DepaError


class ModelRefused(DepaError):
    """A base model cannot be used."""

    code = "model-refused"
    exit_code = 4
    http_status = 422
