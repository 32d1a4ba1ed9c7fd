"""An answer of the service as the document that it should be."""

from __future__ import annotations

from typing import TypeVar

from pydantic import ValidationError

from clients.api.errors import UntrustedAnswerError
from policies.wire.base import Wire

W = TypeVar("W", bound=Wire)


def read_answer(data: bytes, model: type[W]) -> W:
    """Return the document of an answer.

    Raises:
        UntrustedAnswerError: naming the first field that is not what it should be.
    """
    try:
        return model.model_validate_json(data, by_name=False, by_alias=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        at = "/".join(map(str, first["loc"]))
        raise UntrustedAnswerError(
            f"{model.__name__}/{at}", expected="another form", got=first["msg"]
        ) from None
