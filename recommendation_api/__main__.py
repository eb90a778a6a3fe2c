"""Serve one replica: ``python -m recommendation_api [--host HOST] [--port PORT] [--workers N]``."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence

from model_release.errors import ConfigurationError
from recommendation_api.process import Server, address_of, listen
from recommendation_api.settings import PREFIX, Settings
from recommendation_api.supervisor import Supervisor

_log = logging.getLogger("recommendation_api")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until a signal ends it; requests under way are answered first."""
    parser = argparse.ArgumentParser(prog="python -m recommendation_api", description=__doc__)
    parser.add_argument("--host", help="default: $RECOMMENDATION_API_HOST, else 127.0.0.1")
    parser.add_argument("--port", type=int, help="default: $RECOMMENDATION_API_PORT, else 8000; 0: any free one")
    parser.add_argument("--workers", type=int, help="processes; default: $RECOMMENDATION_API_WORKERS, else 1")
    options = parser.parse_args(arguments)
    try:
        given = {f"{PREFIX}WORKERS": options.workers, f"{PREFIX}HOST": options.host}
        chosen = {name: str(value) for name, value in given.items() if value is not None}
        settings = Settings.from_environment({**os.environ, **chosen})
        port = settings.port if options.port is None else options.port
        listener = listen(settings.host, port)
    except ConfigurationError as error:
        parser.error(str(error))
    except OSError as error:
        parser.error(f"can't listen on {settings.host} port {port}: {error.strerror or error}")
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s %(message)s", level=logging.INFO)
    with listener:
        _log.info("listening on %s with %d worker(s)", address_of(listener), settings.workers)
        if settings.workers == 1:
            Server(settings).run(sockets=[listener])
        else:
            try:
                Supervisor(settings, listener).run()
            except ConfigurationError as error:  # the folder for temporary files
                parser.error(str(error))
    return 0


if __name__ == "__main__":
    sys.exit(main())
