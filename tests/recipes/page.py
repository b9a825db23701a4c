"""The recipes of docs/collector.md for the programs of others, with the test's ports in them."""

from collections.abc import Mapping

from tests.e2e.test_collector_recipes import recipe
from tests.recipes.world import World


def written(name: str, world: World) -> str:
    """Return a recipe with the ports of this world's collector and gateway."""
    return recipe(name, collector=world.ports).replace(":8080", f":{world.gateway}")


def exported(name: str, world: World) -> Mapping[str, str]:
    """Return the variables that a recipe of ``export`` lines sets."""
    lines = written(name, world).splitlines()
    assert all(line.startswith("export ") for line in lines)
    return dict(line.removeprefix("export ").split("=", 1) for line in lines)
