"""How the workers of one replica talk: one line of JSON each way, over a Unix socket that only this user can open."""

from __future__ import annotations

import logging
import os
import socket
import socketserver
import threading
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from model_release.artifact import Frozen
from model_release.contract import WorkerReport
from model_release.errors import GenerationConflictError
from recommendation_api.orders import (
    Beat,
    Failure,
    Member,
    Prepare,
    Prepared,
    Pulse,
    Report,
    Switch,
    Trials,
    TrialStates,
    Unusable,
)
from recommendation_api.problems import WorkerLostError
from recommendation_api.runtime import Runtime

_log = logging.getLogger("recommendation_api")
_PREPARE_SECONDS = 300.0  # for reading and checking a whole run
_SWITCH_SECONDS = 10.0
_REPORT_SECONDS = 2.0  # a worker that hangs must not keep GET /models and GET /metrics from answering
_LONGEST_LINE = 64 << 20  # bytes; a registry with thousands of runs has a few hundred kilobytes
_Answer = TypeVar("_Answer", bound=BaseModel)

Order = Annotated[Prepare | Switch | Unusable | Report | Pulse | Trials, Field(discriminator="order")]
_ORDER: TypeAdapter[Order] = TypeAdapter(Order)


class Refused(Frozen):
    """The answer of a worker that could not do what was ordered."""

    refused: Literal[True] = True
    failure: Failure
    serves: int | None = None  # the later generation, if that is why


class ControlServer:
    """Lets the other workers of the replica give orders to ``member``; in threads of its own."""

    def __init__(self, member: Member, path: Path) -> None:
        path.unlink(missing_ok=True)  # of a dead predecessor
        self._server = _Listener(str(path), _Handler)
        self._server.member = member
        self._thread = threading.Thread(target=self._server.serve_forever, name="control", daemon=True)

    def start(self) -> None:
        """Listen from now on."""
        self._thread.start()

    def close(self) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._server.server_close()


class _Listener(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    member: Member


class _Handler(socketserver.StreamRequestHandler):
    server: _Listener

    def handle(self) -> None:
        line = self.rfile.readline(_LONGEST_LINE)
        if not line.endswith(b"\n"):
            return  # whoever asked has died
        answer = _answer(self.server.member, _ORDER.validate_json(line))
        self.wfile.write(answer.model_dump_json().encode() + b"\n")


def _answer(member: Member, order: Order) -> BaseModel:
    try:
        return _obey(member, order)
    except GenerationConflictError as error:
        return Refused(failure=Failure(kind="GenerationConflictError", message=str(error)), serves=error.actual)
    except Exception as error:  # noqa: BLE001  (whoever ordered it has to know)
        _log.error("the order %s failed", order.order, exc_info=True)
        return Refused(failure=Failure(kind=type(error).__name__, message=str(error)))


def _obey(member: Member, order: Order) -> BaseModel:
    match order:
        case Prepare():
            return member.prepare(order)
        case Switch():
            return member.switch(order)
        case Unusable():
            return member.unusable(order)
        case Report():
            return member.report()
        case Pulse():
            return member.pulse()
        case Trials():
            return member.trials()


class RemoteMember:
    """Another worker of this replica, behind its control socket."""

    def __init__(self, runtime: Runtime, slot: int) -> None:
        self._path = runtime.socket(slot)
        self._slot = slot

    @property
    def slot(self) -> int:
        """Its place in the replica."""
        return self._slot

    def prepare(self, order: Prepare) -> Prepared:
        """Let it load and check.

        Raises:
            WorkerLostError: it died, or did not answer in time.
        """
        return self._ask(order, Prepared, _PREPARE_SECONDS)

    def switch(self, order: Switch) -> WorkerReport:
        """Let it replace the pointer.

        Raises:
            GenerationConflictError: it serves a later state.
            WorkerLostError: as above, or it could not, whatever the reason.
        """
        return self._ask(order, WorkerReport, _SWITCH_SECONDS)

    def unusable(self, order: Unusable) -> WorkerReport:
        """Let it note why the desired run is not served."""
        return self._ask(order, WorkerReport, _SWITCH_SECONDS)

    def report(self) -> WorkerReport:
        """Ask what it serves."""
        return self._ask(Report(), WorkerReport, _REPORT_SECONDS)

    def pulse(self) -> Beat:
        """Ask for a sign of life."""
        return self._ask(Pulse(), Beat, _REPORT_SECONDS)

    def trials(self) -> TrialStates:
        """Ask what it knows of trials."""
        return self._ask(Trials(), TrialStates, _REPORT_SECONDS)

    def _ask(self, order: Order, kind: type[_Answer], seconds: float) -> _Answer:
        line = self._exchange(order.model_dump_json().encode() + b"\n", seconds)
        try:
            return kind.model_validate_json(line)
        except ValidationError:
            refused = Refused.model_validate_json(line)
        if refused.serves is not None and isinstance(order, Switch):
            raise GenerationConflictError(expected=order.registry.generation, actual=refused.serves)
        raise WorkerLostError(f"worker {self._slot} could not {order.order}: {refused.failure.message}")

    def _exchange(self, line: bytes, seconds: float) -> bytes:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(seconds)
                connection.connect(os.fspath(self._path))
                connection.sendall(line)
                with connection.makefile("rb") as answers:
                    answer = answers.readline(_LONGEST_LINE)
        except OSError as error:
            raise WorkerLostError(f"worker {self._slot} of this replica does not answer ({error}); retry") from error
        if not answer.endswith(b"\n"):
            raise WorkerLostError(f"worker {self._slot} of this replica ended while it was asked; retry")
        return answer
