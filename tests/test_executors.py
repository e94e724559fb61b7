"""Jobs in this process, in local processes and on a real Dask cluster, workers that die included."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import dask
import pytest
from distributed import LocalCluster

from qedeploy.errors import RequestError, UserError
from qedeploy.executors import SerialExecutor, open_workers, run_jobs
from tests.cli.console import qedeploy

DEVICE = "cpu-int8"


def square(job):
    return job * job


def square_unless(fatal, job):
    if job == fatal:
        os._exit(3)
    return job * job


def square_with_mark(folder, slow, job):
    """Say which process runs the slow job, and wait there to be killed; done at once where it is run again."""
    mark = Path(folder) / "mark"
    if job == slow and not mark.exists():
        part = mark.with_suffix(".part")
        part.write_text(str(os.getpid()))
        part.rename(mark)
        time.sleep(300)
    return job * job


def refuse(job):
    raise UserError(f"job {job} is refused")


@contextmanager
def local_cluster(**settings):
    configuration = {
        "distributed.scheduler.allowed-failures": 1,
        "distributed.admin.large-graph-warning-threshold": "1GB",
    }
    with (
        dask.config.set(configuration),
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, resources={DEVICE: 1}, dashboard_address=":0", **settings
        ) as cluster,
    ):
        yield cluster


@pytest.fixture(scope="module")
def cluster():
    with local_cluster() as found:
        yield found


def outcomes(workers, function, jobs):
    return sorted(
        ((item.job, item.result, item.lost) for item in run_jobs(workers, function, jobs)), key=lambda item: item[0]
    )


@pytest.mark.parametrize("processes", [0, 1, 2])
def test_every_job_has_its_result(processes):
    with open_workers(processes) as workers:
        assert outcomes(workers, square, range(9)) == [(job, job * job, False) for job in range(9)]
        assert outcomes(workers, square, ()) == []


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("fatal", [0, 5])
def test_a_process_that_dies_costs_its_job_only(processes, fatal):
    with open_workers(processes) as workers:
        found = outcomes(workers, partial(square_unless, fatal), range(7))
        assert found == [(job, None if job == fatal else job * job, job == fatal) for job in range(7)]
        assert outcomes(workers, square, range(3)) == [(job, job * job, False) for job in range(3)]


@pytest.mark.parametrize("processes", [0, 1, 2])
def test_jobs_are_taken_as_there_is_room(processes):
    taken, done = [], []

    def jobs():
        for job in range(20):
            # What has come back by now may decide what comes next.
            assert len(taken) - len(done) <= max(1, 2 * processes)
            taken.append(job)
            yield job

    with open_workers(processes) as workers:
        for outcome in run_jobs(workers, square, jobs()):
            done.append(outcome.job)
    assert sorted(done) == list(range(20))


@pytest.mark.parametrize("processes", [0, 1])
def test_what_a_job_refuses_is_raised_as_it_is(processes):
    with open_workers(processes) as workers, pytest.raises(UserError, match="job 4 is refused"):
        list(run_jobs(workers, refuse, [4]))


def test_the_serial_executor_is_one():
    with SerialExecutor() as executor:
        assert list(executor.map(square, [1, 2, 3])) == [1, 4, 9]
        assert isinstance(executor.submit(refuse, 1).exception(), UserError)


def test_a_cluster_answers_like_any_other(cluster):
    with open_workers(cluster=cluster.scheduler_address, device=DEVICE) as workers:
        assert workers.room == 4
        assert outcomes(workers, square, range(9)) == [(job, job * job, False) for job in range(9)]
        # The same jobs again are measured again, and not remembered.
        assert outcomes(workers, square, [2, 2]) == [(2, 4, False)] * 2
        with pytest.raises(UserError, match="job 1 is refused"):
            list(run_jobs(workers, refuse, [1]))
    with open_workers(cluster=cluster.scheduler_address) as workers:
        assert list(workers.executor.map(square, range(4))) == [0, 1, 4, 9]


def test_a_worker_that_is_killed_on_the_way_loses_nothing(tmp_path):
    with (
        local_cluster() as cluster,
        dask.config.set({"distributed.scheduler.allowed-failures": 3}),
        open_workers(cluster=cluster.scheduler_address, device=DEVICE) as workers,
    ):
        cluster.scheduler.allowed_failures = 3
        killed = []

        def kill():
            mark = tmp_path / "mark"
            while not mark.exists():
                time.sleep(0.01)
            killed.append(int(mark.read_text()))
            os.kill(killed[0], signal.SIGKILL)

        killer = threading.Thread(target=kill, daemon=True)
        killer.start()
        found = outcomes(workers, partial(square_with_mark, str(tmp_path), 5), range(12))
        killer.join(timeout=60)
        assert killed
        assert found == [(job, job * job, False) for job in range(12)]


def test_a_job_that_kills_every_worker_is_the_only_one_lost():
    with local_cluster() as cluster, open_workers(cluster=cluster.scheduler_address, device=DEVICE) as workers:
        found = outcomes(workers, partial(square_unless, 3), range(8))
        assert found == [(job, None if job == 3 else job * job, job == 3) for job in range(8)]


def test_a_device_that_no_worker_offers_is_named(cluster):
    with (
        pytest.raises(RequestError, match=r"no worker offers orin-int8: .*--resources orin-int8=1"),
        open_workers(cluster=cluster.scheduler_address, device="orin-int8"),
    ):
        pass


def test_a_scheduler_without_workers_says_so():
    with (
        LocalCluster(n_workers=0, dashboard_address=":0") as cluster,
        pytest.raises(RequestError, match="the scheduler has no workers: start some with `dask worker"),
        open_workers(cluster=cluster.scheduler_address),
    ):
        pass


@pytest.mark.parametrize(
    ("command", "address"),
    [
        ("measure", "nonsense"),
        ("measure", "tcp://127.0.0.1:1"),
        ("correlate", "tcp://127.0.0.1"),
        ("search", "http://["),
        ("search", "tcp://127.0.0.1:x"),
    ],
)
def test_an_address_where_nobody_answers_is_one_line(tmp_path, command, address):
    given = ("--method", "evolution", "--evaluations", "100", "--no-model") if command == "search" else ()
    done = qedeploy(command, "--profile", "cpu-int8", *given, "--cluster", address, cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert f"--cluster {address}: no scheduler answers there" in done.stderr


def test_a_port_that_is_no_schedulers_is_one_line(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        address = f"tcp://127.0.0.1:{port}"
        done = qedeploy("measure", "--profile", "cpu-int8", "--cluster", address, cwd=tmp_path, timeout=60)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "no scheduler answers there" in done.stderr


def test_a_worker_that_is_gone_leaves_no_process_behind():
    with open_workers(2) as workers:
        process = workers.submit(process_number, 0).result()
    with suppress(ProcessLookupError):
        for _ in range(500):
            os.kill(process, 0)
            time.sleep(0.02)
        pytest.fail("the process is still there")


def test_workers_end_with_a_parent_that_is_killed():
    started = subprocess.Popen(
        [sys.executable, "-c", _PARENT], cwd=Path(__file__).parents[1], stdout=subprocess.PIPE, text=True
    )
    assert started.stdout is not None
    assert int(started.stdout.readline()) != started.pid
    started.kill()
    # All of its processes hold the pipe: it ends with the last of them.
    started.communicate(timeout=20)


_PARENT = """
import time
from qedeploy.executors import open_workers
from tests.test_executors import process_number
if __name__ == "__main__":
    with open_workers(2) as workers:
        print(workers.submit(process_number, 0).result(), flush=True)
        time.sleep(60)
"""


def process_number(_job):
    return os.getpid()
