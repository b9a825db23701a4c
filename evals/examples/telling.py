"""An account in words: lines for a terminal, and a page of Markdown."""

from collections.abc import Sequence

from evals.examples.account import Account
from evals.examples.example import Figure


def amount(figure: Figure) -> str:
    """Return a figure's own value in its unit."""
    if figure.unit == "usd":
        return f"${figure.ours:.4f}"
    return f"{figure.ours:.1%}" if figure.unit == "share" else f"{figure.ours:.2f} x"


def lines(account: Account) -> list[str]:
    """Return what a terminal shows of one example."""
    example = account.example
    times = f" x {example.uniform_times}" if example.uniform_times > 1 else ""
    found = [
        f"{example.title}",
        f"  claimed   {example.claim}",
        f"  inputs    {example.inputs}",
        f"  scale     {example.scale}",
        f"  run       {account.steps:,} steps, {account.model_calls:,} model calls, "
        f"{account.right:,} right, {account.seconds:.1f} s",
        f"  measured  ${account.billed_usd:.6f} routed, ${account.uniform_usd:.6f}{times} at the "
        f"frontier: {account.saved:.1%} saved",
        f"  expected  ${account.expected_usd:.6f} routed, ${account.expected_uniform_usd:.6f} at "
        f"the frontier; {'adds up' if account.adds_up else 'DOES NOT ADD UP'}",
    ]
    for figure in account.figures:
        claimed = f"claimed {figure.claimed}, ours " if figure.claimed else ""
        found.append(f"  {figure.verdict:<10} {figure.name}: {claimed}{amount(figure)}")
        found.append(f"             {figure.why}")
    return found


def page(accounts: Sequence[Account]) -> str:
    """Return all of it as Markdown, with every line of arithmetic and the policies' names."""
    parts = [
        "# Worked examples, run",
        "",
        "Every routed step went through a gateway to stand-in models; costs are what the stand-ins "
        "billed at the prices stated, failed attempts counted. *Expected* is the same bill from "
        "first principles: calls x tokens x price.",
    ]
    for account in accounts:
        parts += ["", *_section(account)]
    return "\n".join(parts) + "\n"


def _section(account: Account) -> list[str]:
    example = account.example
    prices = ", ".join(
        f"{tier} ${price.input:g}/${price.output:g} (like {price.like})"
        for tier, price in example.prices.items()
    )
    rows = [
        f"## {example.title}",
        "",
        f"- claimed: {example.claim}",
        f"- inputs: {example.inputs}",
        f"- scale: {example.scale}",
        f"- policy: `{example.policy.name}`",
        f"- USD per million tokens in/out: {prices}",
        "",
        "| figure | claimed | ours | | why |",
        "|---|---|---|---|---|",
    ]
    rows += [
        f"| {figure.name} | {figure.claimed or ''} | {amount(figure)} | {figure.verdict} | "
        f"{figure.why} |"
        for figure in account.figures
    ]
    rows += ["", "| bill | tier | arithmetic |", "|---|---|---|"]
    rows += [f"| {one.name} | {one.tier} | {account.formula(one)} |" for one in account.routed]
    rows.append(
        f"| **routed** | | expected ${account.expected_usd:.9f}, billed ${account.billed_usd:.9f}, "
        f"by the gateway ${account.gateway_usd:.9f} |"
    )
    rows += [f"| {one.name} | {one.tier} | {account.formula(one)} |" for one in account.uniform]
    rows.append(
        f"| **all at the frontier** | | expected ${account.expected_uniform_usd:.9f}, billed "
        f"${account.uniform_usd:.9f} |"
    )
    return rows
