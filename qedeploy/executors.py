"""Where independent jobs run: in this process, in processes of this machine, or on the devices of a cluster.

All three are `concurrent.futures` executors. `run_jobs` drives a list of jobs through one of them so that a worker that
dies costs its job and no other.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, CancelledError, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from multiprocessing import connection, get_context, parent_process
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from qedeploy.errors import MissingRuntimeError, RequestError, UserError

if TYPE_CHECKING:
    import distributed
    from distributed import Client

Job = TypeVar("Job")
Result = TypeVar("Result")

_QUEUED = 2
"""Jobs under way for each worker: one that runs, and one that is ready when it ends."""

_CONNECT_SECONDS = 5
_FETCH_SECONDS = 5
_LOST_WORKER = {"KilledWorker", "FutureCancelledError"}
"""Names of the errors by which distributed says that a worker died with a job."""


class WorkerLostError(Exception):
    """A worker died before the result of its job was fetched."""


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


class ClusterExecutor(Executor):
    """Runs jobs on a Dask cluster, each on a worker that has the `resources` it asks for.

    distributed has such an executor (`Client.get_executor`), but its futures never end if a task kills its workers.
    """

    def __init__(self, client: Client, resources: Mapping[str, int]) -> None:
        self._client, self._resources = client, dict(resources)
        self._pending: set[distributed.Future[Any]] = set()

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        """Send a job to the scheduler; the same job sent twice is run twice."""
        future: Future[Any] = Future()
        sent = self._client.submit(function, *arguments, pure=False, resources=self._resources, **named)
        self._pending.add(sent)

        def finish(task: distributed.Future[Any]) -> None:
            self._pending.discard(task)
            try:
                # It is done, but the worker that has the result may die before it is fetched; the client then waits on.
                result = task.result(timeout=_FETCH_SECONDS)
            except TimeoutError as error:
                future.set_exception(error if task.status == "error" else WorkerLostError())
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)

        sent.add_done_callback(finish)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Wait for what was submitted, or cancel it."""
        if cancel_futures:
            self._client.cancel(list(self._pending))
        elif wait:
            import distributed

            distributed.wait(list(self._pending))


class Workers:
    """An executor, how many jobs to hand it at once, and how to replace it after a dead process has broken it."""

    def __init__(self, make: Callable[[], Executor], room: Callable[[], int]) -> None:
        self._make, self._room = make, room
        self.executor = make()

    @property
    def room(self) -> int:
        """Jobs to have under way, at least 1; on a cluster this changes as workers come and go."""
        return max(1, self._room())

    def submit(self, function: Callable[[Job], Result], job: Job) -> Future[Result]:
        """Return the future of `function(job)`, a failed one if the executor is already broken."""
        try:
            return self.executor.submit(function, job)
        except BrokenProcessPool as error:
            future: Future[Result] = Future()
            future.set_exception(error)
            return future

    def renew(self) -> bool:
        """Replace the executor if one dead process breaks all of it; returns whether it was replaced."""
        if not isinstance(self.executor, ProcessPoolExecutor):
            return False
        self.close()
        self.executor = self._make()
        return True

    def close(self) -> None:
        """Cancel what has not begun and let go of the processes."""
        self.executor.shutdown(wait=False, cancel_futures=True)


def this_process() -> Workers:
    """Return workers that are this process itself."""
    return Workers(SerialExecutor, lambda: 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedJob(Generic[Job, Result]):
    """A finished job: its result, or None and `lost` if its worker died twice."""

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
    workers = Workers(_processes(processes), lambda: processes) if processes else this_process()
    try:
        yield workers
    finally:
        workers.close()


def run_jobs(
    workers: Workers, function: Callable[[Job], Result], jobs: Iterable[Job]
) -> Iterator[FinishedJob[Job, Result]]:
    """Yield the outcome of `function` for every job, in the order in which they finish.

    Jobs are taken from the iterable only when workers have room, so it may depend on earlier outcomes. A job whose
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
            yield from (FinishedJob(job=job, result=future.result()) for future, job in finished if not _lost(future))
            if suspects and workers.renew():
                # Every job in the pool went down with it; running each alone shows whose fault it was.
                suspects.extend(running.values())
                running.clear()
            for job in suspects:
                yield _alone(workers, function, job)
    finally:
        for future in running:
            future.cancel()


def _alone(workers: Workers, function: Callable[[Job], Result], job: Job) -> FinishedJob[Job, Result]:
    future = workers.submit(function, job)
    wait([future])
    if not _lost(future):
        return FinishedJob(job=job, result=future.result())
    workers.renew()
    return FinishedJob(job=job, result=None, lost=True)


def _lost(future: Future[Any]) -> bool:
    try:
        error = future.exception()
    except CancelledError:
        return True
    return isinstance(error, BrokenProcessPool | WorkerLostError) or type(error).__name__ in _LOST_WORKER


def _processes(count: int) -> Callable[[], Executor]:
    # Spawned, not forked: a fork of a process with threads may hang, and other systems have no fork.
    return lambda: ProcessPoolExecutor(count, mp_context=get_context("spawn"), initializer=_begin_worker)


def _begin_worker() -> None:
    # Ctrl-C reaches every process of the terminal; only the one that collects the results has something to do.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A worker waits for jobs on a pipe that it holds itself open: that its parent was killed it would never learn.
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None, "a worker has a process that started it"
    connection.wait([parent.sentinel])
    os._exit(1)


@contextmanager
def _cluster_workers(address: str, device: str | None) -> Iterator[Workers]:
    client = _connect(address)
    try:
        resources = {} if device is None else {device: 1}
        if not _slots(client, device):
            raise RequestError(_nobody(address, device))
        workers = Workers(lambda: ClusterExecutor(client, resources), lambda: _QUEUED * _slots(client, device))
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
        from distributed.comm.core import connect
    except ImportError as error:
        raise MissingRuntimeError(
            "--cluster needs dask.distributed, which is not installed: pip install 'qedeploy[cluster]'"
        ) from error
    # Failures come back as exceptions; the library's log would repeat them over many lines.
    logging.getLogger("distributed").setLevel(logging.CRITICAL + 1)

    import asyncio

    async def greet() -> None:
        (await connect(address, timeout=_CONNECT_SECONDS)).abort()

    try:
        # A client that finds no scheduler keeps trying in the background, and complains when it is collected.
        asyncio.run(asyncio.wait_for(greet(), _CONNECT_SECONDS))
        return Client(address, timeout=_CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise UserError(
            f"--cluster {address}: no scheduler answers there: expected an address such as tcp://host:8786, which "
            "`dask scheduler` prints when it starts"
        ) from error


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
