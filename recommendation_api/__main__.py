"""Serve one replica: ``python -m recommendation_api [--host HOST] [--port PORT]``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import uvicorn

from model_release.errors import ConfigurationError
from recommendation_api.app import create_app
from recommendation_api.settings import Settings

_GRACE_SECONDS = 15


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until a signal ends it; requests under way are answered first."""
    parser = argparse.ArgumentParser(prog="python -m recommendation_api", description=__doc__)
    parser.add_argument("--host", help="default: $RECOMMENDATION_API_HOST, else 127.0.0.1")
    parser.add_argument("--port", type=int, help="default: $RECOMMENDATION_API_PORT, else 8000")
    options = parser.parse_args(arguments)
    try:
        settings = Settings.from_environment()
    except ConfigurationError as error:
        parser.error(str(error))
    uvicorn.run(
        create_app(settings),
        host=options.host or settings.host,
        port=settings.port if options.port is None else options.port,
        proxy_headers=False,  # who calls is who is connected
        access_log=False,  # the metrics count; a line per request costs more than the answer
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
