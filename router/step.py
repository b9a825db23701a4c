"""One step, top to bottom: read, decide, try, deliver, record."""

import asyncio
import logging
from typing import Final

from router import chain, reply, request, roles
from router.exchange import CLIENT_CLOSED, Exchange
from router.gateway import Gateway
from router.lowering import lowered
from router.patience import CONNECTION
from router.raising import raised
from router.request import Endpoint, Receive, Request, Scope, Send
from router.shape import Measure
from telemetry.errors import Internal, InvalidRequest, Overloaded, StepError
from telemetry.records import Context, Decision

RETRY_AFTER_SECONDS: Final = 1

logger = logging.getLogger(__name__)


async def serve(
    gateway: Gateway, endpoint: Endpoint, scope: Scope, receive: Receive, send: Send
) -> None:
    """Answer one step whatever happens; nothing but a cancelled server leaves this function."""
    exchange = Exchange.begin(gateway, endpoint, scope)
    gateway.load.steps += 1
    gateway.meters.step_begins()
    hangup: Hangup | None = None
    try:
        _must_have_room(gateway)
        exchange.request = asked = await request.read(
            scope,
            receive,
            endpoint=endpoint,
            callers=exchange.loaded.callers,
            limits=gateway.limits,
        )
        exchange.decision = decide(exchange, asked)
        hangup = Hangup(scope, receive)
        if exchange.purse is not None:
            exchange.decision = await lowered(exchange, exchange.decision)
        await chain.walk(exchange, asked, exchange.decision, send, hangup.stop)
    except StepError as error:
        await reply.refuse(exchange, error, send)
    except request.HungUp:
        exchange.end(CLIENT_CLOSED, "client_closed")
    except Exception:  # the request's boundary: a fault of ours costs one step
        logger.exception("step %s failed", exchange.decision_id)
        await reply.refuse(exchange, _internal(exchange), send)
    except asyncio.CancelledError:
        exchange.end(CLIENT_CLOSED, "client_closed")
        if hangup is None or not hangup.take():
            raise
    finally:
        if hangup is not None:
            hangup.stop()
        gateway.load.steps -= 1
        gateway.meters.step_ends()


def _internal(exchange: Exchange) -> Internal:
    return Internal(
        "internal",
        "tierwise could not serve this step because of a fault of its own",
        hint=f"the gateway's log names it beside {exchange.decision_id}",
    )


def decide(exchange: Exchange, asked: Request) -> Decision:
    """Return the decision for a step, and give ``exchange`` what it may spend.

    Raises:
        StepError: unknown model, a role or a pin that is not the caller's to use.
    """
    gateway = exchange.gateway
    context = context_of(exchange, asked)
    if asked.caller is not None:
        asked.caller.must_hold(context.role)
    decision = gateway.decider.decide(
        exchange.loaded.policy,
        context,
        decision_id=exchange.decision_id,
        at_ns=gateway.clock.now_ns(),
    )
    decision = raised(exchange, asked, decision)
    exchange.purse = gateway.spending.purse(exchange, asked, decision)
    return decision


def context_of(exchange: Exchange, asked: Request) -> Context:
    """Return all that the decision may look at."""
    policy = exchange.loaded.policy
    alias = roles.alias_of(asked.model)
    dialect = asked.endpoint.dialect
    measured = Measure(asked.body, dialect)
    role, source, unknown = roles.resolve(
        roles.Asked(
            header_role=asked.role,
            alias=alias,
            metadata_role=asked.metadata_role,
            baggage_agent=asked.baggage.get("gen_ai.agent.name"),
            key_role=asked.caller.role if asked.caller else None,
        ),
        policy,
        measured,
    )
    session = asked.session or (exchange.parent.trace_id if exchange.parent else None)
    observed = unknown is None and policy.observed(role, asked.mode, dialect)
    memory = exchange.gateway.memory
    return Context(
        role=role,
        role_source=source,
        role_unknown=unknown,
        dialect=dialect,
        stream=asked.stream,
        session=session,
        mode=asked.mode,
        plan=asked.plan,
        key=asked.caller.name if asked.caller else None,
        budget=asked.caller.budget if asked.caller else None,
        caller_pin=None if alias is not None else _pin(exchange, asked, role),
        shape=measured() if observed else None,
        history=memory.history(session, role) if observed and session is not None else None,
    )


def _pin(exchange: Exchange, asked: Request, role: str) -> str | None:
    """Return the model that the caller names, where the policy lets callers choose.

    Elsewhere a model of the policy is just what an agent was once configured with: the step goes
    by its role, so that a changed base URL is all an agent needs.

    Raises:
        InvalidRequest: neither an alias nor a model of the policy.
    """
    policy = exchange.loaded.policy
    model = policy.find_model(asked.model)
    if model is None:
        raise InvalidRequest(
            "unknown_model",
            f"model {asked.model[:100]!r} is neither an alias nor a model of the policy",
            hint="send tierwise/auto, tierwise/<role> or a name that GET /v1/models lists",
        )
    rules = policy.rules.get((role, asked.mode)) or policy.rules[role, None]
    return model if rules.caller_pins else None


def _must_have_room(gateway: Gateway) -> None:
    load = gateway.load
    if load.draining:
        raise Overloaded(
            "draining",
            "this gateway is shutting down",
            hint="ask another gateway, or this one once it has started again",
            retry_after_seconds=RETRY_AFTER_SECONDS,
        )
    if load.steps > load.steps_max:
        raise Overloaded(
            "too_many_steps",
            f"{load.steps_max} steps are in flight",
            hint="try again shortly, or raise gateway.workers or gateway.steps_max",
            retry_after_seconds=RETRY_AFTER_SECONDS,
        )


class Hangup:
    """Cancels the step as soon as its caller hangs up, in whatever it is waiting for.

    Our own server tells of it directly; behind any other one a task listens.
    """

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self._heard = False
        self._over = False
        self._step = asyncio.current_task()
        self._connection = scope.get(CONNECTION)
        self._watch: asyncio.Task[None] | None = None
        if self._connection is None or not self._connection.watch(self._gone):
            self._watch = asyncio.create_task(self._listen(receive))

    async def _listen(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._gone()

    def _gone(self) -> None:
        if not self._over and self._step is not None:
            self._heard = True
            self._step.cancel()

    def take(self) -> bool:
        """Return whether the cancellation was ours; the task may then go on."""
        if self._heard and self._step is not None:
            self._step.uncancel()
        return self._heard

    def stop(self) -> None:
        """Stop listening: all that the caller gets has been produced. Safe to call twice."""
        self._over = True
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None  # which knows of us: no cycle is left for the collector
        elif self._connection is not None:
            self._connection.unwatch()
            self._connection = None
