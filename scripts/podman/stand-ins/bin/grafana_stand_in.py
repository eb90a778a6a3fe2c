"""Stand-in for Grafana: healthy if its provisioning, its dashboards and its password can be read.

Of Python's library only what python3-minimal has.
"""

import os
import socket

NEEDED = (
    "/etc/grafana/provisioning/datasources/prometheus.yml",
    "/etc/grafana/provisioning/dashboards/recommendation.yml",
    "/var/lib/grafana/dashboards/recommendation-releases.json",
    os.environ["GF_SECURITY_ADMIN_PASSWORD__FILE"],
)


def readable(name: str) -> bool:
    try:
        with open(name) as file:  # noqa: PTH123  (pathlib is not there)
            return bool(file.read(1))
    except OSError:
        return False


with socket.create_server(("", 3000)) as server:
    while True:
        with server.accept()[0] as caller:
            caller.recv(4096)
            status = "200 OK" if all(map(readable, NEEDED)) else "503 Service Unavailable"
            caller.sendall(f"HTTP/1.0 {status}\r\nContent-Length: 0\r\n\r\n".encode())
