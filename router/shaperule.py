"""Rules that read a role off a request's shape, and what can be said of them before any request."""

from router.policyfile import ShapeRule
from telemetry.records import Shape

KILOBYTE = 1_024


def matches(rule: ShapeRule, shape: Shape) -> bool:
    """Say whether every condition of ``rule`` holds for ``shape``."""
    return all(
        _holds(name, getattr(rule, name), shape) for name in conditions(rule)
    )  # a rule has one to four conditions


def conditions(rule: ShapeRule) -> tuple[str, ...]:
    """Return the names of the conditions that ``rule`` states."""
    return tuple(
        name
        for name in type(rule).model_fields
        if name != "role" and getattr(rule, name) is not None
    )


def _holds(name: str, wanted: bool | int, shape: Shape) -> bool:
    match name:
        case "schema_":
            return shape.schema is wanted
        case "tools":
            return (shape.tools_count > 0) is wanted
        case "tool_choice_forced" | "images" | "code":
            return getattr(shape, name) is wanted
        case "body_kb_min":
            return shape.body_bytes >= wanted * KILOBYTE
        case "body_kb_max":
            return shape.body_bytes <= wanted * KILOBYTE
    counted: int | None
    match name:
        case "choices_max":
            counted = shape.choices_count
        case "tools_max":
            counted = shape.tools_count
        case "messages_max":
            counted = shape.messages_count
        case _:
            counted = shape.output_tokens_max
    return counted is not None and counted <= wanted


def covers(earlier: ShapeRule, later: ShapeRule) -> bool:
    """Say whether each request that ``later`` matches is certainly matched by ``earlier``.

    Sound but not complete: False may also mean that it cannot be told from the conditions.
    """
    return all(_implied(name, getattr(earlier, name), later) for name in conditions(earlier))


def _implied(name: str, wanted: bool | int, by: ShapeRule) -> bool:
    stated = getattr(by, name)
    if name.endswith("_max"):
        if name == "tools_max" and by.tools is False:
            return True
        return stated is not None and stated <= wanted
    if name.endswith("_min"):
        return stated is not None and stated >= wanted
    if stated is None:
        if name == "schema_" and wanted:
            return by.choices_max is not None  # a closed set of answers is read off a schema
        if name == "tools" and not wanted:
            return by.tools_max == 0
    return stated is wanted


def contradiction(rule: ShapeRule) -> str | None:
    """Return why no request can match ``rule``, or None when one may."""
    low, high = rule.body_kb_min, rule.body_kb_max
    if low is not None and high is not None and low > high:
        return f"body_kb_min = {low} is more than body_kb_max = {high}"
    if rule.tools and rule.tools_max == 0:
        return "tools = true asks for tools and tools_max = 0 for none"
    if rule.schema_ is False and rule.choices_max is not None:
        return "choices_max is read off a schema and schema = false asks for none"
    return None
