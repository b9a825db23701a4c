"""From a prompt's text to the task it sets and its true answer, by simple rules.

Nothing but the text is looked at, as a model would: an instruction, and below it the material in
tags such as ``<ticket>``. A prompt that no rule knows is answered with an echo.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from evals.standin import lexicon
from evals.standin.ask import Ask, Tool
from evals.standin.skills import Step

Truth = str | dict[str, Any]

TAGGED = re.compile(r"<(\w+)[^>]*>\n?(.*?)\n?</\1>", re.DOTALL)
ONE_OF = re.compile(r"one of:\s*([^\n.]+)", re.IGNORECASE)
KEYS = re.compile(r"\bkeys?:?\s+([\w]+(?:,\s*\w+|\s+and\s+\w+)*)", re.IGNORECASE)
FIELD = re.compile(r"value of the field '([^']+)'", re.IGNORECASE)
RULE = re.compile(r"if (\w+) is (over |under |)(\S+) then (\w+)", re.IGNORECASE)
OTHERWISE = re.compile(r"otherwise (\w+)", re.IGNORECASE)
MUST = re.compile(r"must (not )?contain '([^']+)'", re.IGNORECASE)
OPERATION = re.compile(r"^- (\w+)(?: needs (.+))?$", re.MULTILINE)
NUMERIC_DATE = re.compile(r"(\d{1,2})[./](\d{1,2})[./](\d{4})")


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """What is asked and what would be right; ``others`` are plausible wrong answers."""

    step: Step
    truth: Truth
    others: tuple[Truth, ...] = ()
    tool: str | None = None


def read(ask: Ask) -> Task:
    """Return the task that ``ask`` sets."""
    material = {tag: text for tag, text in TAGGED.findall(ask.text)}
    instruction = TAGGED.sub("", ask.text).strip() or ask.text
    task = _tool_task(ask, instruction, material)
    if task is not None:
        return task
    for matches, reader in RULES:
        if matches.search(instruction):
            found = reader(instruction, material)
            if found is not None:
                return _shaped(found, ask)
    return _shaped(_echo(ask), ask)


def _whole(material: dict[str, str]) -> str:
    return "\n".join(material.values())


def _classify(instruction: str, material: dict[str, str]) -> Task | None:
    found = ONE_OF.search(instruction)
    if found is None:
        return None
    choices = [choice.strip(" '\"`") for choice in found.group(1).split(",")]
    text = _whole(material) or instruction
    if "language" in instruction.casefold():
        guess = lexicon.language(text)
        truth = guess if guess in choices else choices[0]
    elif [choice.casefold() for choice in choices] == ["yes", "no"]:
        truth = choices[0] if _holds(instruction, text) else choices[1]
    else:
        truth = lexicon.topic(text, choices)
    others = tuple(choice for choice in choices if choice != truth)
    return Task(step=Step.CLASSIFY, truth=truth, others=others)


def _holds(instruction: str, text: str) -> bool:
    """Answer a yes-or-no question: does the material mention something, or do its sums agree."""
    quoted = re.search(r"mention '([^']+)'", instruction)
    if quoted:
        return quoted.group(1).casefold() in text.casefold()
    amounts = [number(lexicon.field(name, text)) for name in ("net_amount", "tax_amount", "total")]
    if None in amounts:
        return False
    net, tax, total = (amount or 0.0 for amount in amounts)
    return abs(net + tax - total) < 0.005


def _extract(instruction: str, material: dict[str, str]) -> Task | None:
    found = KEYS.search(instruction)
    if found is None:
        return None
    names = re.split(r",\s*|\s+and\s+", found.group(1))
    text = _whole(material)
    truth = {name: lexicon.field(name, text) for name in names}
    if "customer" in truth:
        truth["customer"] = _sender(text) or truth["customer"]
    return Task(step=Step.EXTRACT, truth=truth)


def _sender(text: str) -> str | None:
    found = re.search(r"^From:\s*([^<\n]+?)\s*<", text, re.MULTILINE)
    return found.group(1) if found else None


def _field(instruction: str, material: dict[str, str]) -> Task | None:
    found = FIELD.search(instruction)
    if found is None:
        return None
    raw = lexicon.field(found.group(1), _whole(material))
    if raw is None:
        return Task(step=Step.EXTRACT, truth="unknown")
    lowered = instruction.casefold()
    if "iso 8601" in lowered:
        return Task(step=Step.TRANSFORM, truth=iso_date(raw))
    if "plain number" in lowered:
        value = number(raw)
        return Task(step=Step.TRANSFORM, truth=raw if value is None else f"{value:.2f}")
    return Task(step=Step.EXTRACT, truth=raw)


def _file_name(instruction: str, material: dict[str, str]) -> Task:
    text = _whole(material)
    parts = (lexicon.field("supplier", text) or "", lexicon.field("invoice_number", text) or "")
    slug = re.sub(r"[^a-z0-9]+", "-", " ".join(parts).casefold()).strip("-")
    return Task(step=Step.TRANSFORM, truth=f"{slug}.pdf")


def _lines(instruction: str, material: dict[str, str]) -> Task:
    items = re.findall(r"^\s*\d+ x .+$", _whole(material), re.MULTILINE)
    return Task(step=Step.TRANSFORM, truth=str(len(items)))


def _summarise(instruction: str, material: dict[str, str]) -> Task:
    text = _whole(material)
    who = _sender(text) or lexicon.field("customer", text) or "The writer"
    order = lexicon.field("order_id", text) or "no order"
    about = lexicon.topic(text, ["delivery", "billing", "returns", "account", "technical"])
    return Task(step=Step.SUMMARISE, truth=f"{who} writes about order {order}: a {about} problem.")


def _decide(instruction: str, material: dict[str, str]) -> Task | None:
    rules = RULE.findall(instruction)
    otherwise = OTHERWISE.search(instruction)
    if not rules or otherwise is None:
        return None
    facts = facts_of(_whole(material))
    actions = [action for *_, action in rules] + [otherwise.group(1)]
    chosen, reason = otherwise.group(1), "no other rule applies"
    for name, relation, value, action in rules:
        if _applies(facts.get(name), relation.strip(), value):
            chosen, reason = action, f"{name} is {facts.get(name)}"
            break
    others = tuple({"action": a, "reason": reason} for a in actions if a != chosen)
    return Task(step=Step.DECIDE, truth={"action": chosen, "reason": reason}, others=others)


def facts_of(text: str) -> dict[str, Any]:
    """Return the facts that a JSON object or ``name: value`` lines state."""
    try:
        value = json.loads(text)
    except ValueError:
        pairs = (line.split(":", 1) for line in text.splitlines() if ":" in line)
        return {name.strip(): fact.strip() for name, fact in pairs}
    return value if isinstance(value, dict) else {}


def _applies(fact: Any, relation: str, value: str) -> bool:
    if fact is None:
        return False
    if not relation:
        return str(fact).casefold() == value.casefold()
    have, limit = number(str(fact)), number(value)
    if have is None or limit is None:
        return False
    return have > limit if relation.casefold() == "over" else have < limit


REPLIES = {
    "en": ("Dear {customer},", "about your order {order_id}: our decision is {action}."),
    "de": ("Guten Tag {customer},", "zu Ihrer Bestellung {order_id}: wir entscheiden {action}."),
    "fr": ("Bonjour {customer},", "pour votre commande {order_id} : notre décision est {action}."),
    "es": ("Hola {customer},", "sobre su pedido {order_id}: nuestra decisión es {action}."),
    "ja": ("{customer}様", "ご注文 {order_id} について、当社の決定は {action} です。"),
}  # fmt: skip


def _draft(instruction: str, material: dict[str, str]) -> Task:
    facts = facts_of(_whole(material))
    wanted = re.search(r"language (\w\w)\b", instruction)
    code = wanted.group(1) if wanted else "en"
    greeting, line = REPLIES.get(code, REPLIES["en"])
    known = {key: str(facts.get(key, "")) for key in ("customer", "order_id", "action")}
    truth = f"{greeting}\n\n{line}".format(**known)
    promise = truth + "\n\nWe guarantee that it will never happen again."
    return Task(step=Step.DRAFT, truth=truth, others=(promise,))


def _verify(instruction: str, material: dict[str, str]) -> Task | None:
    demands = MUST.findall(instruction)
    if not demands:
        return None
    text = _whole(material).casefold()
    broken = [words for negated, words in demands if (words.casefold() in text) == bool(negated)]
    truth = {"ok": not broken, "violations": broken}
    wrong: dict[str, Any] = {"ok": bool(broken), "violations": [] if broken else [demands[0][1]]}
    return Task(step=Step.VERIFY, truth=truth, others=(wrong,))


def _plan(instruction: str, material: dict[str, str]) -> Task | None:
    needs = {
        name: [need.strip() for need in wanted.split(",") if need.strip()]
        for name, wanted in OPERATION.findall(_whole(material) or instruction)
    }
    if not needs:
        return None
    order: list[str] = []
    while len(order) < len(needs):
        ready = [n for n in needs if n not in order and all(x in order for x in needs[n])]
        if not ready:
            return None
        order += ready
    backwards = {"steps": order[::-1]}
    return Task(step=Step.PLAN, truth={"steps": order}, others=(backwards, {"steps": order[1:]}))


Reader = Callable[[str, dict[str, str]], Task | None]

RULES: tuple[tuple[re.Pattern[str], Reader], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), reader)
    for pattern, reader in (
        (r"one of:", _classify),
        (r"value of the field", _field),
        (r"\bfile name\b", _file_name),
        (r"how many line items", _lines),
        (r"\bextract\b", _extract),
        (r"\bsummari[sz]e\b", _summarise),
        (r"\bdecide\b", _decide),
        (r"\bcheck the draft\b", _verify),
        (r"\bdraft\b", _draft),
        (r"\bplan\b", _plan),
    )
)


def _echo(ask: Ask) -> Task:
    if ask.tool_result is not None:
        return Task(step=Step.OTHER, truth=f"The tool says: {ask.tool_result[:400]}")
    return Task(step=Step.OTHER, truth=f"You said: {' '.join(ask.text.split())[:400]}")


def _shaped(task: Task, ask: Ask) -> Task:
    """Give the answer the structure that the request demands."""
    if ask.schema is not None:
        known = task.truth if isinstance(task.truth, dict) else {"answer": task.truth}
        truth = fill(ask.schema, known=known, text=ask.text)
        others = tuple({**truth, **other} for other in task.others if isinstance(other, dict))
        step = Step.EXTRACT if task.step is Step.OTHER else task.step
        return Task(step=step, truth=truth, others=others)
    if ask.json_only and isinstance(task.truth, str):
        return Task(step=task.step, truth={"answer": task.truth})
    return task


def _tool_task(ask: Ask, instruction: str, material: dict[str, str]) -> Task | None:
    """Return the tool call that the prompt wants, when it wants one."""
    if not ask.tools or ask.tool_choice == "none":
        return None
    if ask.tool_result is not None and ask.tool_choice in ("auto", "required"):
        return None
    by_name = {tool.name: tool for tool in ask.tools}
    tool = by_name.get(ask.tool_choice)
    if tool is None:
        tool = _fitting(ask.tools, instruction)
    if tool is None and ask.tool_choice == "required":
        tool = ask.tools[-1]
    if tool is None:
        return None
    arguments = fill(tool.schema, known={}, text=_whole(material) or instruction)
    return Task(step=Step.TOOL, truth=arguments, tool=tool.name)


def _fitting(tools: tuple[Tool, ...], instruction: str) -> Tool | None:
    """Return the tool most of whose name's words the instruction uses; None when none is."""
    lowered = instruction.casefold()

    def words_used(tool: Tool) -> int:
        words = [w for w in re.split(r"[_\W]+", tool.name.casefold()) if len(w) > 3]
        return sum(word in lowered for word in words)

    best = max(tools, key=words_used)
    return best if words_used(best) else None


def fill(schema: dict[str, Any], *, known: dict[str, Any], text: str) -> dict[str, Any]:
    """Return an object of ``schema``, filled from what is known and from the text."""
    definitions = schema.get("$defs") or schema.get("definitions") or {}
    value = _value("", schema, known, text, definitions, 0)
    return value if isinstance(value, dict) else {"value": value}


def _value(  # noqa: C901, PLR0911 - one return for each kind of schema
    name: str,
    schema: dict[str, Any],
    known: dict[str, Any],
    text: str,
    definitions: dict[str, Any],
    depth: int,
) -> Any:
    if depth > 16:
        return None
    if "$ref" in schema:
        schema = definitions.get(str(schema["$ref"]).rpartition("/")[2], {})
    for several in ("anyOf", "oneOf", "allOf"):
        if schema.get(several):
            schema = schema[several][0]
            return _value(name, schema, known, text, definitions, depth + 1)
    kind = schema.get("type")
    kind = kind[0] if isinstance(kind, list) and kind else kind
    if kind == "object" or "properties" in schema:
        return {
            key: _value(key, part, known, text, definitions, depth + 1)
            for key, part in (schema.get("properties") or {}).items()
        }
    if name in known and known[name] is not None:
        return known[name]
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        lowered = text.casefold()
        return next((e for e in schema["enum"] if str(e).casefold() in lowered), schema["enum"][0])
    if kind in ("integer", "number"):
        value = number(lexicon.field(name, text)) or _first_number(text)
        return int(value) if kind == "integer" else value
    if kind == "boolean":
        return True
    if kind == "array":
        items = schema.get("items") or {"type": "string"}
        return [_value(name, items, known, text, definitions, depth + 1)]
    if kind == "null":
        return None
    return _string(name, text)


def _string(name: str, text: str) -> str:
    found = lexicon.field(name, text) or (lexicon.field("email", text) if name == "to" else None)
    if found is not None:
        return found
    if name in ("city", "location", "place"):
        place = re.search(r"\bin ([^\W\d_][\w-]+(?: [A-Z]\w+)*)", text)
        return place.group(1) if place else text.rsplit(maxsplit=1)[-1]
    return " ".join(text.split())[:80]


def _first_number(text: str) -> float:
    found = re.search(r"-?\d+(?:\.\d+)?", text)
    return float(found.group()) if found else 0.0


def number(text: str | None) -> float | None:
    """Return the number in ``text``, whichever of comma and point marks its decimals.

    >>> number("1.234,50 EUR"), number("EUR 1,234.50"), number("none")
    (1234.5, 1234.5, None)
    """
    found = re.search(r"-?\d[\d.,\u202f ]*", text or "")
    if found is None:
        return None
    digits = re.sub(r"[\u202f ]", "", found.group()).rstrip(".,")
    point = max(digits.rfind("."), digits.rfind(","))
    if point >= 0 and len(digits) - point - 1 in (1, 2):
        return float(re.sub(r"[.,]", "", digits[:point]) + "." + digits[point + 1 :])
    return float(re.sub(r"[.,]", "", digits))


def iso_date(text: str) -> str:
    """Return a day-first date as ISO 8601; other text as it is.

    >>> iso_date("03.11.2026")
    '2026-11-03'
    """
    found = NUMERIC_DATE.search(text)
    if found is None:
        return text
    day, month, year = found.groups()
    return f"{year}-{int(month):02}-{int(day):02}"
