"""`tierwise collector`: the collector alone, one for any number of gateways."""

import typer

from router.cli import options
from router.cli.output import Screen
from router.cli.processes import Files, keep_running
from router.settings import Overrides


def collector(  # noqa: PLR0913 - a flag is a parameter
    *,
    config: options.ConfigPath = options.CONFIG_DEFAULT,
    policy: options.PolicyPath = options.POLICY_DEFAULT,
    otlp_http: options.OtlpHttpAt = None,
    otlp_grpc: options.OtlpGrpcAt = None,
    console: options.ConsoleAt = None,
    store: options.StorePath = None,
    json: options.Json = False,
) -> None:
    """Run the collector alone: it takes OTLP, stores it, and serves the API and its pages.

    It is started again when it crashes. SIGTERM and Ctrl-C end it after everything received is
    written.
    """
    overrides = Overrides(otlp_http=otlp_http, otlp_grpc=otlp_grpc, console=console, store=store)
    files = Files(config_path=config.absolute(), policy_path=policy.absolute(), overrides=overrides)
    raise typer.Exit(keep_running(files, screen=Screen(json=json), gateway=False, collector=True))
