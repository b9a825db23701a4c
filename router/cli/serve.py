"""`tierwise serve`: gateway and collector together."""

import typer

from router.cli import options
from router.cli.output import Screen
from router.cli.processes import Files, keep_running
from router.settings import Overrides


def serve(  # noqa: PLR0913 - a flag is a parameter
    *,
    config: options.ConfigPath = options.CONFIG_DEFAULT,
    policy: options.PolicyPath = options.POLICY_DEFAULT,
    gateway: options.GatewayAt = None,
    otlp_http: options.OtlpHttpAt = None,
    otlp_grpc: options.OtlpGrpcAt = None,
    console: options.ConsoleAt = None,
    store: options.StorePath = None,
    json: options.Json = False,
) -> None:
    """Run the gateway and the collector, and keep both running.

    Flags stand above tierwise.toml; port 0 takes any free one. SIGHUP reads both files again,
    SIGTERM and Ctrl-C let steps in flight finish. A dead collector never stops the gateway.
    """
    overrides = Overrides(
        gateway=gateway, otlp_http=otlp_http, otlp_grpc=otlp_grpc, console=console, store=store
    )
    files = Files(config_path=config.absolute(), policy_path=policy.absolute(), overrides=overrides)
    raise typer.Exit(keep_running(files, screen=Screen(json=json), gateway=True, collector=True))
