"""Files that people write: what is wrong with them is said for people."""

import contextlib
from pathlib import Path
from typing import Annotated, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field, ValidationError

from telemetry.configfile import FILE_BYTES_MAX, Section, load, parse
from telemetry.errors import ConfigError

CANARY = "sk-canary-6c1d8f2a90b74e53"


class Leaf(Section):
    """A table inside others."""

    colour: str = "green"
    weight: Annotated[int, Field(ge=1)] = 1


class Tree(Section):
    """A file."""

    schema_: int = Field(alias="schema")
    leaf: Leaf = Field(default_factory=Leaf)
    leaves: dict[str, Leaf] = Field(default_factory=dict)
    fallen: tuple[Leaf, ...] = ()
    maybe: Leaf | None = None
    season: Literal["spring", "autumn"] = "spring"


def fault(text: str | bytes) -> str:
    content = text if isinstance(text, bytes) else text.encode()
    with pytest.raises(ConfigError) as caught:
        parse(content, Tree, name="tree.toml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("shema = 1", "shema: unknown key; did you mean 'schema'?"),
        ("schema = 1\nleaf.color = 'x'", "leaf.color: unknown key; did you mean 'colour'?"),
        ("schema = 1\nleaves.oak.color = 'x'", "leaves.oak.color: unknown key; did you mean 'col"),
        ("schema = 1\n[[fallen]]\ncolor = 'x'", "fallen.0.color: unknown key; did you mean 'colo"),
        ("schema = 1\nmaybe.color = 'x'", "maybe.color: unknown key; did you mean 'colour'?"),
        ("schema = 1\nleaf.zzz = 1", "leaf.zzz: unknown key; known here: colour, weight"),
    ],
)
def test_a_misspelt_key_names_the_nearest_right_one_wherever_it_is(text: str, place: str) -> None:
    assert f"tree.toml: {place}" in fault(text)


def test_every_fault_of_a_file_has_its_line() -> None:
    said = fault("leaf.weight = 0\nleaf.color = 1\n")
    assert len(said.splitlines()) == 3
    assert "tree.toml: schema: is missing" in said
    assert "tree.toml: leaf.weight: " in said


@pytest.mark.parametrize(
    "content", [b"schema = ", b"\xff\xfe", b"schema = 1\nschema = 2", b"a = " + b"[" * 5_000]
)
def test_what_is_not_toml_is_said_with_the_files_name(content: bytes) -> None:
    assert fault(content).startswith("tree.toml: not TOML: ")


def test_a_mark_at_the_start_and_foreign_line_ends_do_not_matter() -> None:
    assert parse(b"\xef\xbb\xbfschema = 1\r\n[leaf]\r\n", Tree, name="tree.toml").schema_ == 1


def test_a_value_that_is_refused_is_not_repeated() -> None:
    for text in (
        f'schema = "{CANARY}"',
        f'schema = 1\nleaf.weight = "{CANARY}"',
        f'schema = 1\nleaf.key = "{CANARY}"',
    ):
        with pytest.raises(ConfigError) as caught:
            parse(text.encode(), Tree, name="tree.toml")
        assert CANARY not in str(caught.value)
        assert CANARY not in repr(caught.value)
        assert CANARY not in str(caught.value.__cause__)


def test_an_absent_file_names_its_path_and_what_writes_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="tierwise init") as caught:
        load(tmp_path / "gone.toml", Tree)
    assert str(tmp_path / "gone.toml") in str(caught.value)
    with pytest.raises(ConfigError):
        load(tmp_path, Tree)


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "tree.toml"
    path.write_bytes(b"schema = 1\n" + b"#" * FILE_BYTES_MAX)
    with pytest.raises(ConfigError, match="larger than"):
        load(path, Tree)
    path.write_bytes(b"schema = 1\n" + b"#" * (FILE_BYTES_MAX - 11))
    assert load(path, Tree).schema_ == 1


def test_what_is_loaded_is_frozen() -> None:
    tree = parse(b"schema = 1", Tree, name="tree.toml")
    with pytest.raises(ValidationError):
        tree.leaf = Leaf()  # type: ignore[misc]


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode()))
def test_no_content_raises_anything_but_a_configuration_error(content: bytes) -> None:
    with contextlib.suppress(ConfigError):
        parse(content, Tree, name="tree.toml")


def test_a_misspelt_choice_names_the_nearest_right_one() -> None:
    said = fault("schema = 1\nseason = 'atumn'")
    assert "tree.toml: season: Input should be 'spring' or 'autumn'; did you mean 'autumn'?" in said
    assert said.endswith("; correct it; docs/configuration.md has every key")


def test_what_is_not_there_is_written_first_and_what_cannot_be_read_is_named(
    tmp_path: Path,
) -> None:
    with pytest.raises(ConfigError) as absent:
        load(tmp_path / "tree.toml", Tree)
    assert absent.value.hint == "`tierwise init` writes a first one"
    with pytest.raises(ConfigError) as folder:
        load(tmp_path, Tree)
    assert folder.value.hint == "name a file that this user may read"
