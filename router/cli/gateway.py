"""`tierwise gateway`: the gateway alone, for example beside each agent."""

import typer

from router.cli import options
from router.cli.output import Screen
from router.cli.processes import Files, keep_running
from router.settings import Overrides


def gateway(  # noqa: PLR0913 - a flag is a parameter
    *,
    config: options.ConfigPath = options.CONFIG_DEFAULT,
    policy: options.PolicyPath = options.POLICY_DEFAULT,
    gateway: options.GatewayAt = None,
    otlp_http: options.OtlpHttpAt = None,
    otlp_grpc: options.OtlpGrpcAt = None,
    console: options.ConsoleAt = None,
    json: options.Json = False,
) -> None:
    """Run the gateway alone; its spans go to a collector elsewhere.

    --otlp-http (or --otlp-grpc, as telemetry.protocol says) and --console say where that collector
    is. SIGHUP reads both files again, SIGTERM and Ctrl-C let steps in flight finish.
    """
    overrides = Overrides(
        gateway=gateway, otlp_http=otlp_http, otlp_grpc=otlp_grpc, console=console
    )
    files = Files(config_path=config.absolute(), policy_path=policy.absolute(), overrides=overrides)
    raise typer.Exit(keep_running(files, screen=Screen(json=json), gateway=True, collector=False))
