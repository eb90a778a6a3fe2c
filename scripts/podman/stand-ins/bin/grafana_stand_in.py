"""Stand-in for Grafana: healthy if its provisioning, its dashboards and its password are there."""

import http.server
import os
from pathlib import Path

NEEDED = (
    "/etc/grafana/provisioning/datasources/prometheus.yml",
    "/etc/grafana/provisioning/dashboards/recommendation.yml",
    "/var/lib/grafana/dashboards/recommendation-releases.json",
    os.environ["GF_SECURITY_ADMIN_PASSWORD__FILE"],
)


class Health(http.server.BaseHTTPRequestHandler):
    """Answers every question with whether everything can be read."""

    def do_GET(self) -> None:
        missing = [name for name in NEEDED if not Path(name).read_bytes()]
        self.send_response(503 if missing else 200)
        self.end_headers()


http.server.ThreadingHTTPServer(("", 3000), Health).serve_forever()
