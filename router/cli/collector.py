"""`tierwise collector`: the collector alone, one for any number of gateways."""

import typer

from router.cli import options
from router.cli.output import Screen
from router.cli.processes import Files, run_collector
from router.listen import Address, bind
from router.settings import Overrides, load


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

    SIGTERM and Ctrl-C end it after everything received is written.
    """
    overrides = Overrides(otlp_http=otlp_http, otlp_grpc=otlp_grpc, console=console, store=store)
    files = Files(config_path=config.absolute(), policy_path=policy.absolute(), overrides=overrides)
    settings, _ = load(files.config_path, files.policy_path, overrides)
    listen = settings.collector
    addresses = {"otlp_http": listen.otlp_http, "otlp_grpc": listen.otlp_grpc}
    addresses["console"] = listen.console
    for key, text in addresses.items():
        flag = f"--{key.replace('_', '-')}"
        bind(Address.parse(text, where=flag), where=flag).close()  # told here, with the remedy
    screen = Screen(json=json)
    screen.result({"event": "starting", "addresses": addresses, "store": listen.store})
    screen.say("tierwise collector", style="bold")
    for key, text in addresses.items():
        screen.say(f"  {key.replace('_', ' '):<10} {text}")
    screen.say(f"  {'store':<10} {listen.store}")
    raise typer.Exit(run_collector(files))
