"""Connection type ``recommendation_api``: all replicas of the recommendation API behind one connection."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
from airflow.providers.http.hooks.http import HttpHook
from airflow.sdk.exceptions import AirflowNotFoundException

from model_release.adapters.addresses import check_url
from model_release.adapters.plain_service_client import PlainServiceClient
from model_release.adapters.recommendation_api_client import RecommendationApiClient
from model_release.adapters.service_mapping import read_mapping
from model_release.errors import ConfigurationError, ModelReleaseError, ReplicaUnreachableError
from model_release_airflow.context import Stores

if TYPE_CHECKING:
    from airflow.sdk import Connection

Client = RecommendationApiClient | PlainServiceClient
DEFAULT_CONN_ID = "recommendation_api"


class RecommendationApiHook(HttpHook):
    """Reach every replica of the recommendation API.

    Which replicas there are, the first that applies: the list ``replicas`` in the connection's extra; every address
    that the host's name resolves to, with ``"every_address": true`` in the extra; else host and port.  The password
    is the reload token.  With ``service`` in the extra they are replicas of somebody else's service.

    :param recommendation_api_conn_id: The connection.
    :param timeout_seconds: For reads.
    :param reload_timeout_seconds: For reloads, which load and check a whole run.
    """

    conn_name_attr = "recommendation_api_conn_id"
    default_conn_name = DEFAULT_CONN_ID
    conn_type = "recommendation_api"
    hook_name = "Recommendation API"

    def __init__(
        self,
        recommendation_api_conn_id: str = DEFAULT_CONN_ID,
        *,
        timeout_seconds: float = 10.0,
        reload_timeout_seconds: float = 120.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(method="GET", http_conn_id=recommendation_api_conn_id, **kwargs)
        self.recommendation_api_conn_id = recommendation_api_conn_id
        self.timeout_seconds = timeout_seconds
        self.reload_timeout_seconds = reload_timeout_seconds

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return how the form of a connection looks; :mod:`model_release_airflow.provider` says the same."""
        from model_release_airflow.provider import CONNECTION_FORM

        return dict(CONNECTION_FORM)

    @contextmanager
    def replicas(self, connection: Connection | None = None) -> Iterator[Sequence[Client]]:
        """Give a client of every replica, closed at the end.

        :param connection: The connection, if it was read already.
        """
        known = connection if connection is not None else self._known()
        with ExitStack() as opened, self._hint():
            clients: list[Client] = [self._client(url, known) for url in self.addresses(known)]
            for client in clients:
                opened.callback(client.close)
            yield clients

    def _client(self, url: str, connection: Connection) -> Client:
        """Return the client of one replica: of somebody else's service, if the extra describes one."""
        service = connection.extra_dejson.get("service")
        common: dict[str, Any] = {
            "token": connection.password or None,
            "timeout_seconds": self.timeout_seconds,
            "reload_timeout_seconds": self.reload_timeout_seconds,
        }
        if service is None:
            return RecommendationApiClient(url, **common)
        mapping = read_mapping(service, connection=self.http_conn_id)
        return PlainServiceClient(url, mapping=mapping, registry=Stores.from_environment().registry, **common)

    def _known(self) -> Connection:
        """Return the connection.

        Raises:
            ConfigurationError: there is none; says how to make one.
        """
        try:
            return self.get_connection(self.http_conn_id)
        except AirflowNotFoundException as error:
            raise ConfigurationError(
                f"Airflow has no connection {self.http_conn_id!r}, which says where the recommendation API is; on a laptop: "
                f"export AIRFLOW_CONN_{self.http_conn_id.upper()}="
                """'{"conn_type": "recommendation_api", "schema": "http", "host": "127.0.0.1", "port": 8000}'"""
            ) from error

    @contextmanager
    def _hint(self) -> Iterator[None]:
        """Say what to do about a replica that nobody listens at."""
        try:
            yield
        except ReplicaUnreachableError as error:
            if isinstance(error.__cause__, httpx.ConnectError):
                port = urlsplit(error.replica).port or 80
                error.add_note(
                    f"is the recommendation API running? On a laptop: python -m recommendation_api --port {port}; "
                    f"connection {self.http_conn_id!r} says where it should be"
                )
            raise

    def addresses(self, connection: Connection) -> list[str]:
        """Return the base address of every replica, each once.

        Raises:
            ConfigurationError: there is none, or one is not usable.
            ReplicaUnreachableError: the host's name does not resolve.
        """
        extra = connection.extra_dejson
        listed = extra.get("replicas") or []
        if isinstance(listed, str):  # a form field holds text
            listed = listed.replace(",", " ").split()
        if not isinstance(listed, list) or not all(isinstance(entry, str) for entry in listed):
            raise ConfigurationError(f"replicas of connection {self.http_conn_id!r} must be a list of addresses")
        if listed:
            return list(dict.fromkeys(check_url(entry) for entry in listed))
        if not connection.host:
            raise ConfigurationError(f"connection {self.http_conn_id!r} has neither a host nor a list of replicas")
        self._set_base_url(connection)
        base = check_url(self.base_url)
        if str(extra.get("every_address", False)).lower() not in {"true", "1", "yes"}:
            return [base]
        return every_address(base)

    def test_connection(self) -> tuple[bool, str]:
        """Ask every replica what it serves: the test button of the connection's form."""
        try:
            with self.replicas() as replicas:
                said = [_serves(replica) for replica in replicas]
        except ModelReleaseError as error:
            return False, str(error)
        return True, "; ".join(said)


def every_address(base: str) -> list[str]:
    """Return an address for everything that the host's name resolves to.

    Raises:
        ConfigurationError: it is https, whose certificates name hosts, not addresses.
        ReplicaUnreachableError: it resolves to nothing.
    """
    parts = urlsplit(base)
    if parts.scheme != "http":
        raise ConfigurationError(f"every_address does not go with {base}: list the replicas by name")
    port = parts.port or 80
    try:
        found = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise ReplicaUnreachableError(f"{parts.hostname} does not resolve: {error}", replica=base) from error
    hosts = sorted({str(address[0]) for *_, address in found})
    return [f"http://{f'[{host}]' if ':' in host else host}:{port}{parts.path}" for host in hosts]


def _serves(replica: Client) -> str:
    report = replica.models()
    if report.problem is not None:
        raise ReplicaUnreachableError(f"{replica.url} can't read the registry: {report.problem}", replica=replica.url)
    runs = sorted({worker.current or "no run" for worker in report.workers})
    generations = sorted({worker.generation for worker in report.workers if worker.generation is not None})
    return (
        f"{replica.url}: {len(report.workers)} of {report.workers_expected} workers serve {', '.join(runs)} "
        f"at generation {', '.join(map(str, generations)) or 'not told'}"
    )


@contextmanager
def replicas_if_known(conn_id: str = DEFAULT_CONN_ID) -> Iterator[Sequence[Client]]:
    """Give a client of every replica, closed at the end; none without the connection.

    :param conn_id: The connection of the recommendation API.
    """
    try:
        connection = RecommendationApiHook.get_connection(conn_id)
    except AirflowNotFoundException:
        yield ()
        return
    with RecommendationApiHook(conn_id).replicas(connection) as found:
        yield found
