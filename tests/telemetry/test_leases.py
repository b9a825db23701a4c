"""What is sent about budgets is read at the other end: an unread field promises nothing."""

import ast
from pathlib import Path

import msgspec
import pytest

from telemetry.leases import Answer, Claim, Grant, Notice, Report

ROOT = Path(__file__).parents[2]
READERS = {
    Answer: "router/lease.py",
    Grant: "router/lease.py",
    Notice: "router/lease.py",
    Report: "collector/budgets.py",
    Claim: "collector/budgets.py",
}


@pytest.mark.parametrize("kind", READERS)
def test_every_field_is_read_at_the_other_end(kind: type[msgspec.Struct]) -> None:
    tree = ast.parse((ROOT / READERS[kind]).read_text(encoding="utf-8"))
    read = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
    }
    assert set(kind.__struct_fields__) <= read
