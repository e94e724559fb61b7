"""Where independent jobs run: in this process, in processes of this machine, or on the devices of a cluster.

All three are `concurrent.futures` executors. `run_jobs` drives a list of jobs through one of them so that a worker that
dies costs its job and no other.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, CancelledError, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context
from socket import create_connection
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from urllib.parse import urlsplit

from qedeploy.errors import MissingRuntimeError, RequestError, UserError

if TYPE_CHECKING:
    from distributed import Client

Job = TypeVar("Job")
Result = TypeVar("Result")

_QUEUED = 2
"""Jobs under way for each worker: one that runs, and one that it need not wait for."""

_CONNECT_SECONDS = 5
_LOST_WORKER = {"KilledWorker", "FutureCancelledError"}
"""Names of the errors by which distributed says that a worker died with a job."""


class SerialExecutor(Executor):
    """Runs each job when it is submitted, in this process."""

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        """Run `function` at once; the future is done when this returns."""
        future: Future[Any] = Future()
        try:
            future.set_result(function(*arguments, **named))
        except Exception as error:
            future.set_exception(error)
        return future


class Workers:
    """An executor, how many jobs to hand it at once, and how to get a new one where a dead process broke it."""

    def __init__(self, make: Callable[[], Executor], room: Callable[[], int]) -> None:
        self._make, self._room = make, room
        self.executor = make()

    @property
    def room(self) -> int:
        """Jobs to have under way, at least 1; on a cluster this changes as workers come and go."""
        return max(1, self._room())

    def submit(self, function: Callable[[Job], Result], job: Job) -> Future[Result]:
        """Return the future of `function(job)`, a failed one where the executor is broken already."""
        try:
            return self.executor.submit(function, job)
        except BrokenProcessPool as error:
            future: Future[Result] = Future()
            future.set_exception(error)
            return future

    def renew(self) -> bool:
        """Replace the executor if one dead process breaks all of it; says whether that is so."""
        if not isinstance(self.executor, ProcessPoolExecutor):
            return False
        self.close()
        self.executor = self._make()
        return True

    def close(self) -> None:
        """Cancel what has not begun and let go of the processes."""
        # A cluster's executor has no such argument: without waiting, it cancels all by itself.
        named = {"cancel_futures": True} if isinstance(self.executor, ProcessPoolExecutor) else {}
        self.executor.shutdown(wait=False, **named)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome(Generic[Job, Result]):
    """A finished job: its result, or None and `lost` where the worker that ran it died, and did so again."""

    job: Job
    result: Result | None
    lost: bool = False


@contextmanager
def open_workers(processes: int = 0, cluster: str | None = None, device: str | None = None) -> Iterator[Workers]:
    """Yield workers: on the scheduler `cluster` (`tcp://host:port`), else `processes`, else (0) this process itself.

    On a cluster with `device`, only workers that offer a resource of that name run jobs, and each as many at once as it
    offers. Raises MissingRuntimeError where dask.distributed is not installed, UserError for an address at which no
    scheduler answers, RequestError where no worker offers the device.
    """
    if cluster is not None:
        with _cluster_workers(cluster, device) as workers:
            yield workers
        return
    workers = (
        Workers(SerialExecutor, lambda: 1) if processes == 0 else Workers(_processes(processes), lambda: processes)
    )
    try:
        yield workers
    finally:
        workers.close()


def run_jobs(
    workers: Workers, function: Callable[[Job], Result], jobs: Iterable[Job]
) -> Iterator[Outcome[Job, Result]]:
    """Yield the outcome of `function` for every job, in the order in which they finish.

    Jobs are taken from the iterable only as workers have room, so that it may depend on outcomes so far. A job whose
    worker died is tried once more, alone; an exception that the function raises is raised here.
    """
    waiting = iter(jobs)
    running: dict[Future[Result], Job] = {}
    try:
        while True:
            for job in islice(waiting, max(0, workers.room - len(running))):
                running[workers.submit(function, job)] = job
            if not running:
                return
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            finished = [(future, running.pop(future)) for future in done]
            suspects = [job for future, job in finished if _lost(future)]
            yield from (Outcome(job=job, result=future.result()) for future, job in finished if not _lost(future))
            if suspects and workers.renew():
                # Every job in the pool went down with it; whose fault it was shows when each runs alone.
                suspects.extend(running.values())
                running.clear()
            for job in suspects:
                yield _alone(workers, function, job)
    finally:
        for future in running:
            future.cancel()


def _alone(workers: Workers, function: Callable[[Job], Result], job: Job) -> Outcome[Job, Result]:
    future = workers.submit(function, job)
    wait([future])
    if not _lost(future):
        return Outcome(job=job, result=future.result())
    workers.renew()
    return Outcome(job=job, result=None, lost=True)


def _lost(future: Future[Any]) -> bool:
    try:
        error = future.exception()
    except CancelledError:
        return True
    return isinstance(error, BrokenProcessPool) or type(error).__name__ in _LOST_WORKER


def _processes(count: int) -> Callable[[], Executor]:
    # Spawned, not forked: a fork of a process with threads may hang, and other systems have no fork.
    return lambda: ProcessPoolExecutor(count, mp_context=get_context("spawn"), initializer=_ignore_interrupts)


def _ignore_interrupts() -> None:
    # Ctrl-C reaches every process of the terminal; only the one that collects the results has something to do.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def _cluster_workers(address: str, device: str | None) -> Iterator[Workers]:
    client = _connect(address)
    try:
        resources = {} if device is None else {"resources": {device: 1}}

        if not _slots(client, device):
            raise RequestError(_nobody(address, device))
        # Not pure: the same job measured twice is two measurements.
        workers = Workers(
            lambda: client.get_executor(pure=False, **resources), lambda: _QUEUED * _slots(client, device)
        )
        try:
            yield workers
        finally:
            workers.close()
    finally:
        client.close(timeout=_CONNECT_SECONDS)


def _connect(address: str) -> Client:
    import logging

    try:
        from distributed import Client
    except ImportError as error:
        raise MissingRuntimeError(
            "--cluster needs dask.distributed, which is not installed: pip install 'qedeploy[cluster]'"
        ) from error
    # What goes wrong comes back as an exception; the library's log would repeat it over many lines.
    logging.getLogger("distributed").setLevel(logging.CRITICAL + 1)
    try:
        # A client that finds nobody keeps trying in the background and complains when it is collected.
        with create_connection(_host_and_port(address), timeout=_CONNECT_SECONDS):
            pass
        return Client(address, timeout=_CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise UserError(
            f"--cluster {address}: no scheduler answers there: expected an address such as tcp://host:8786, which "
            "`dask scheduler` prints when it starts"
        ) from error


def _host_and_port(address: str) -> tuple[str, int]:
    parts = urlsplit(address if "//" in address else f"tcp://{address}")
    if parts.hostname is None or parts.port is None:
        raise ValueError("no host or no port")
    return parts.hostname, parts.port


def _slots(client: Client, device: str | None) -> int:
    described = client.scheduler_info(n_workers=-1)["workers"].values()
    if device is None:
        return sum(int(worker["nthreads"]) for worker in described)
    return sum(int(worker["resources"].get(device, 0)) for worker in described)


def _nobody(address: str, device: str | None) -> str:
    if device is None:
        return f"--cluster {address}: the scheduler has no workers: start some with `dask worker {address}`"
    return (
        f"--cluster {address}: no worker offers {device}: start one on the device with "
        f"`dask worker {address} --nthreads 1 --resources {device}=1`"
    )
