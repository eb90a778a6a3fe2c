"""Whether an address answers with success: ``python -I /opt/health/answers.py URL``.  The images have no curl."""

from __future__ import annotations

import sys
import urllib.request

SECONDS = 4.0


def main(url: str) -> None:
    """Fail unless the answer is a success."""
    straight = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy of the environment is not between
    with straight.open(url, timeout=SECONDS):
        pass  # anything but a success is raised


if __name__ == "__main__":
    main(sys.argv[1])
