"""The recipes that come with unmask: `tiny` stands for its file wherever a recipe is asked for."""

from pathlib import Path

from unmask.errors import UserError, did_you_mean, suggest

SUFFIXES = (".yaml", ".yml")


def shipped_recipes() -> dict[str, Path]:
    """The recipes by name. They lie in the installed package, or in a checkout beside `src`."""
    package = Path(__file__).parents[1]
    for folder in (package / "recipes", package.parents[1] / "recipes"):
        if folder.is_dir():
            return {path.stem: path for path in sorted(folder.glob("*.yaml"))}
    return {}


def find_recipe(recipe: Path | str) -> Path:
    """The file of a recipe given by its name or its path. Raises UserError where there is none."""
    known, path = shipped_recipes(), Path(recipe)
    if str(recipe) in known:
        return known[str(recipe)]
    if path.is_file():
        return path
    if "=" in str(recipe):
        raise UserError(
            "{recipe} is a setting; the recipe comes first", recipe, allowed=f"a file, or {', '.join(known)}"
        )
    neighbours = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    meant = suggest(path.name, [name for name in neighbours if name.endswith(SUFFIXES)])
    raise UserError(
        "{path} does not exist" if path.suffix in SUFFIXES else "{path} is not a recipe",
        recipe,
        allowed=f"a YAML file, or one of {', '.join(known)}",
        hint=did_you_mean(path.parent / meant if meant else suggest(path.stem, known)),
    )
