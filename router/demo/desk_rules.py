"""The desk's own functions for the tier `code`; the demo puts this file beside its policy.toml.

Each answers what needs no model and abstains (None) where it cannot be sure.
"""

import re
from typing import Any

from evals.codehelpers import extracted, first
from evals.codetier import ToolUse
from evals.steps import Step

ORDER_SUBJECT = r"(?m)^Subject: ([A-Z]{2}-\d{6})$"
DEMAND = re.compile(r"the draft must (not )?contain '([^']+)'")
MATERIAL = re.compile(r"<(document|draft)>\n(.*?)\n</\1>", re.DOTALL)
ITEM = re.compile(r"^\d+ x ", re.MULTILINE)
# Labels of the documents that the desk knows by heart; others are for a model.
SUPPLIER = r"(?m)^(?:Supplier|Lieferant): (.+)$"
NUMBER = r"(?m)^(?:Invoice no|Rechnung Nr): (.+)$"
DATES = {
    "issue_date": r"(?m)^(?:Date of issue|Ausgestellt am): (.+)$",
    "due_date": r"(?m)^(?:Due date|Fällig am): (.+)$",
}


def look_up(step: Step) -> ToolUse | None:
    """Look up the order that the subject line is; abstain when it is something else."""
    order_id = extracted(step.last_user_text, ORDER_SUBJECT)
    if order_id is None:
        return None
    return ToolUse(name="look_up_order", arguments={"order_id": order_id})


def check_policy(step: Step) -> dict[str, Any] | None:
    """Look for what a draft must and must not contain, in any letter case."""
    demands = DEMAND.findall(step.last_user_text)
    if not demands:
        return None
    draft = _material(step).casefold()
    broken = [words for negated, words in demands if (words.casefold() in draft) == bool(negated)]
    return {"ok": not broken, "violations": broken}


def normalise(step: Step) -> str | None:
    """Count line items, make file names, turn dates around; leave amounts to a model."""
    return first(lambda: _line_items(step), lambda: _file_name(step), lambda: _iso_date(step))


def _line_items(step: Step) -> str | None:
    if "how many line items" not in step.last_user_text.casefold():
        return None
    return str(len(ITEM.findall(_material(step))))


def _file_name(step: Step) -> str | None:
    if not step.last_user_text.startswith("Make a file name"):
        return None
    supplier, number = (extracted(_material(step), label) for label in (SUPPLIER, NUMBER))
    if supplier is None or number is None:
        return None
    return re.sub(r"[^a-z0-9]+", "-", f"{supplier} {number}".casefold()).strip("-") + ".pdf"


def _iso_date(step: Step) -> str | None:
    name = extracted(step.last_user_text, r"field '(\w+)' as an ISO 8601 date")
    if name not in DATES:
        return None
    shown = extracted(_material(step), DATES[name]) or ""
    found = re.fullmatch(r"(\d{2})[./](\d{2})[./](\d{4})", shown)
    return None if found is None else "-".join(reversed(found.groups()))


def _material(step: Step) -> str:
    found = MATERIAL.search(step.last_user_text)
    return "" if found is None else found.group(2)
