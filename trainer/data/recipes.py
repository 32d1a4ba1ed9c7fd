"""The recipe of a prepared data set, read back from its manifest."""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from pydantic import TypeAdapter, ValidationError

from trainer.data.errors import DataError
from trainer.data.preprocess import Recipe
from trainer.data.whole import VolumeRecipe

AnyRecipe: TypeAlias = Recipe | VolumeRecipe

_KINDS: Final[dict[str, TypeAdapter[Any]]] = {
    "slices": TypeAdapter(Recipe),
    "volumes": TypeAdapter(VolumeRecipe),
}


def read_recipe(layout: str, value: dict[str, Any]) -> AnyRecipe:
    """Return the recipe that a manifest of a layout states.

    Raises:
        DataError: when there is none for the layout, or it is not one that this release makes.
    """
    kind = _KINDS.get(layout)
    if kind is None:
        raise DataError(
            f"layout: expected {' or '.join(_KINDS)}, got {layout}",
            hint="give a folder that depa data preprocess has made",
        )
    try:
        recipe: AnyRecipe = kind.validate_python(value)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)[0]
        at = ".".join(map(str, found["loc"]))
        raise DataError(f"recipe: {at}: {found['msg']}") from None
    # What is not known would be passed over: another recipe than the one that made the data.
    if recipe.to_json() != value:
        raise DataError("recipe: it says what this release does not know or leaves a default out")
    return recipe
