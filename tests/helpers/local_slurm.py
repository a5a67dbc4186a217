"""A real Slurm of one node, on loopback ports of its own, started and ended by whoever uses it."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "squeue")

CONF = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={control_port}
SlurmdPort={node_port}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=6
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
MpiDefault=none
ReturnToService=2
JobRequeue=1
KillWait=5
NodeName=localhost NodeAddr=127.0.0.1 NodeHostname={host} CPUs=4
PartitionName=all Nodes=localhost Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str:
    """Why no Slurm can be started here; empty if one can."""
    absent = [program for program in PROGRAMS if not shutil.which(program, path=_path())]
    if absent:
        return f"{', '.join(absent)} not installed: apt-get install slurm-wlm munge"
    return "" if os.geteuid() == 0 else "Slurm's daemons start as root only"


@contextmanager
def one_node(folder: Path) -> Iterator[dict[str, str]]:
    """Give the environment in which Slurm's commands reach a cluster that lives as long as the block."""
    (folder / "state").mkdir()
    (folder / "spool").mkdir()
    key = folder / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    ports = dict(zip(("control_port", "node_port"), _free_ports(2), strict=True))
    conf = folder / "slurm.conf"
    conf.write_text(CONF.format(folder=folder, host=socket.gethostname(), **ports))
    env = {**os.environ, "PATH": _path(), "SLURM_CONF": str(conf)}
    munge = ["munged", "--foreground", "--force", "--key-file", str(key), "--num-threads", "1"]
    munge += [
        word
        for name in ("socket", "pid-file", "log-file", "seed-file")
        for word in (f"--{name}", f"{folder}/munge.{name}")
    ]
    with ExitStack() as stack:
        for command in (
            munge,
            ["slurmctld", "-D", "-f", conf],
            ["slurmd", "-D", "-N", "localhost", "-f", conf],
        ):
            stack.enter_context(_daemon(command, env, folder))
        until(
            lambda: "idle" in _output(["sinfo", "--noheader", "--format=%T"], env), 60, "the node to be idle"
        )
        try:
            yield env
        finally:  # jobs would outlive the daemons
            subprocess.run(["scancel", "--user=root", "--signal=KILL", "--full"], env=env, check=False)
            subprocess.run(["scancel", "--user=root"], env=env, check=False)
            until(lambda: not _output(["squeue", "--noheader"], env), 30, "the jobs to end")


def until(true: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait until `true()`; fails after `seconds`."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"waited {seconds} s in vain for {what}"
        time.sleep(0.2)


@contextmanager
def _daemon(command: list[object], env: dict[str, str], folder: Path) -> Iterator[None]:
    name = str(command[0])
    with (folder / f"{name}.out").open("w") as output:
        words = [str(word) for word in command]
        process = subprocess.Popen(  # Ctrl-C is for the test alone: the daemons are needed to end the jobs
            words, env=env, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            if name == "munged":
                until((folder / "munge.socket").exists, 10, "munged")
            yield
        finally:
            process.terminate()
            process.wait(20)


def _output(command: list[str], env: dict[str, str]) -> str:
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False).stdout


def _path() -> str:
    return os.environ["PATH"] + os.pathsep + "/usr/sbin"


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
