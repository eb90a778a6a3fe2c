"""Run the bridge: ``python -m alert_bridge``; settings by environment, see docs/reference/alert-bridge.md."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from collections.abc import Sequence

import uvicorn

from alert_bridge.bridge import Bridge
from alert_bridge.settings import Settings
from model_release.errors import ConfigurationError

_GRACE_SECONDS = 10


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until a signal ends it; return 1 if it had to end by itself."""
    parser = argparse.ArgumentParser(prog="python -m alert_bridge", description=__doc__)
    parser.parse_args(arguments)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s %(message)s", level=logging.INFO)
    deaths: list[bool] = []
    servers: list[uvicorn.Server] = []

    def died() -> None:
        deaths.append(True)
        for server in servers:
            server.should_exit = True

    try:
        settings = Settings.from_environment()
        bridge = Bridge(settings, died)
    except ConfigurationError as error:
        parser.error(str(error))
    config = uvicorn.Config(
        bridge.app(),
        host=settings.host,
        port=settings.port,
        ws="none",
        workers=1,
        proxy_headers=False,  # who calls is who is connected
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    servers.append(uvicorn.Server(config))
    # uvicorn raises the signal that ended it once more, when it is done: the messages under way are not
    signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        bridge.start()
        servers[0].run()
    finally:
        bridge.close()
    return 1 if deaths else 0


if __name__ == "__main__":
    sys.exit(main())
