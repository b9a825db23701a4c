"""Flags that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from router.settings import CONFIG_NAME, POLICY_NAME

Json = Annotated[
    bool, typer.Option("--json", help="Machine-readable output on stdout, nothing else there.")
]
ConfigPath = Annotated[
    Path,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        envvar="TIERWISE_CONFIG",
        help="Where to listen, providers, keys.",
    ),
]
PolicyPath = Annotated[
    Path,
    typer.Option(
        "--policy",
        "-p",
        metavar="FILE",
        envvar="TIERWISE_POLICY",
        help="Tiers and roles.",
    ),
]
GatewayAt = Annotated[
    str | None,
    typer.Option("--gateway", metavar="HOST:PORT", help="Where the gateway listens."),
]
OtlpHttpAt = Annotated[
    str | None,
    typer.Option("--otlp-http", metavar="HOST:PORT", help="Where OTLP over HTTP is taken."),
]
OtlpGrpcAt = Annotated[
    str | None,
    typer.Option("--otlp-grpc", metavar="HOST:PORT", help="Where OTLP over gRPC is taken."),
]
ConsoleAt = Annotated[
    str | None,
    typer.Option("--console", metavar="HOST:PORT", help="Where the API and its pages are."),
]
StorePath = Annotated[Path | None, typer.Option("--store", metavar="FILE", help="The DuckDB file.")]

CONFIG_DEFAULT = Path(CONFIG_NAME)
POLICY_DEFAULT = Path(POLICY_NAME)
