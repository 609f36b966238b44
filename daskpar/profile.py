"""Profiles: what a site is like. Frozen models, one for each ``kind``; none of them knows any science.

`Profile` is the union; `daskpar.settings.profile_lookup.load_profile` finds and reads one.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, model_validator

from daskpar.settings.amounts import Memory, Walltime
from daskpar.settings.cores import available_cores
from daskpar.settings.grammar import (
    AbsolutePath,
    ClassPath,
    Directive,
    Feature,
    Interface,
    LauncherOption,
    LicenseList,
    MailAddress,
    NodeList,
    Positive,
    PrologueLine,
    QueueName,
    RootName,
    TlsAddress,
    fault_at,
    safe_options,
)


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class KeyFiles(_Settings):
    """Files of a mutual TLS that others have set up, in PEM format."""

    ca_file: AbsolutePath = Field(description="Certificate of the authority that both sides trust")
    cert: AbsolutePath = Field(description="Own certificate")
    key: AbsolutePath = Field(description="Own private key, mode 0600")


class _Site(_Settings):
    """What every kind has."""

    roots: dict[RootName, AbsolutePath] = Field(
        default_factory=dict, description="Folders that recipes name: data:night1/*.fits"
    )


class LocalProfile(_Site):
    """Workers on this machine, reachable over loopback only."""

    kind: Literal["local"] = "local"
    workers: Positive = Field(
        default_factory=available_cores, description="Workers; default: the cores we have"
    )
    cores: Positive = Field(1, description="Threads of each worker")
    processes: bool = Field(True, description="A process a worker; false: all threads in this process")
    memory: Memory | Literal["auto"] = Field("auto", description="Limit of each worker; auto: an equal share")
    scratch: AbsolutePath | None = Field(None, description="Folder for temporary files; default: TMPDIR")
    dashboard: bool = Field(True, description="Serve the live pages on loopback")


class Driver(_Settings):
    """The process that advances a run: where, and with what limits if it is a job."""

    mode: Literal["job", "allocation", "here"] = Field(
        "job",
        description="A batch job that submits the workers; one job for all, where nodes may not submit; "
        "or a process on this host",
    )
    walltime: Walltime | None = Field(None, description="Default: the longest that the partition allows")
    memory: Memory = Field(4 * 2**30, description="Memory of the driver's job")
    partition: QueueName | None = Field(None, description="Default: that of the workers")


class _SlurmJob(_Site):
    """What a Slurm job may ask for."""

    cores: Positive = Field(1, description="Threads of each worker")
    memory: Memory | None = Field(None, description="Memory of each worker")
    memory_per_cpu: Memory | None = Field(
        None, description="Instead of memory, where the site counts by core"
    )
    walltime: Walltime = Field(3600, description="Limit of each job")
    partition: QueueName | None = Field(None, description="Default: the site's")
    account: QueueName | None = Field(None, description="Account to charge")
    qos: QueueName | None = Field(None, description="Quality of service")
    constraint: Feature | tuple[Feature, ...] | None = Field(None, description="Node features, all needed")
    reservation: QueueName | None = Field(None, description="Reservation to run in")
    exclude: NodeList | None = Field(None, description="Nodes not to use: node7,node[01-05]")
    licenses: LicenseList | None = Field(None, description="Licences to hold: idl:2")
    mail: MailAddress | None = Field(None, description="Address for mail at the end or failure of the driver")
    extra_directives: tuple[Directive, ...] = Field((), description="Further options of sbatch")
    interface: Interface | None = Field(None, description="Network interface of workers and scheduler: ib0")
    prologue: tuple[PrologueLine, ...] = Field((), description="Lines before the start: module load ...")
    scratch: AbsolutePath | None = Field(None, description="Folder on each node; default: TMPDIR there")
    python: AbsolutePath | None = Field(None, description="Interpreter on the nodes; default: this one")
    security: Literal["temporary"] | KeyFiles = Field(
        "temporary", description="TLS with keys made for the run, or the key files of the site"
    )


class SlurmProfile(_SlurmJob):
    """Workers as Slurm jobs: ``workers`` of ``cores`` threads, ``processes`` of them in each job."""

    kind: Literal["slurm"] = "slurm"
    workers: Positive = Field(2, description="Workers to ask for")
    minimum_workers: Positive | None = Field(None, description="Start with so many; default: 1")
    maximum_workers: Positive | None = Field(None, description="Never more than so many; default: workers")
    processes: Positive = Field(1, description="Workers in each job; for whole nodes")
    scheduler_interface: Interface | None = Field(None, description="Where it differs from interface")
    driver: Driver = Field(default_factory=Driver, description="The process that advances the run")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        _one_memory(self)
        if self.minimum_workers is not None and self.minimum_workers > self.workers:
            raise fault_at("minimum_workers", "is above workers", f"write at most {self.workers}")
        if self.maximum_workers is not None and self.maximum_workers < self.workers:
            raise fault_at("maximum_workers", "is below workers", f"write at least {self.workers}")
        if self.workers % self.processes:
            todo = f"write workers as a multiple of {self.processes}"
            raise fault_at("processes", f"does not divide {self.workers} workers", todo)
        return self


class MpiProfile(_SlurmJob):
    """Ranks of one MPI job: ``workers`` that compute, and two for scheduler and client."""

    kind: Literal["mpi"] = "mpi"
    workers: Positive = Field(2, description="Ranks that compute; two more hold scheduler and client")
    launcher: Literal["mpiexec", "srun"] = Field("mpiexec", description="Command that starts the ranks")
    launcher_options: tuple[LauncherOption, ...] = Field((), description="Its options: --mpi=pmi2")
    batch: Literal["none", "slurm"] = Field("none", description="Start here, or submit one Slurm job")

    @property
    def ranks(self) -> int:
        """Number of MPI ranks, scheduler and client included."""
        return self.workers + 2

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.batch == "slurm":
            _one_memory(self)
            return self
        # Not model_fields_set: a resolved profile, written with every default, must be readable again.
        fields = type(self).model_fields
        for key in (key for key in _ONLY_IN_A_JOB if getattr(self, key) != fields[key].default):
            raise fault_at(key, "has no meaning without a batch system", "write batch: slurm, or remove it")
        return self


class ClassProfile(_Site):
    """Any cluster class with the interface of distributed, such as those of dask-jobqueue."""

    kind: Literal["class"] = "class"
    path: ClassPath = Field(description="module.Class: dask_jobqueue.PBSCluster")
    options: Annotated[dict[str, JsonValue], BeforeValidator(safe_options)] = Field(
        default_factory=dict, description="Arguments of the class"
    )
    workers: Positive = Field(2, description="Workers to ask for")
    interface: Interface | None = Field(None, description="Network interface of workers and scheduler: ib0")
    security: Literal["temporary"] | KeyFiles = Field(
        "temporary", description="TLS with keys made for the run, or the key files of the site"
    )


class AddressProfile(_Site):
    """A cluster that already runs; only over mutual TLS."""

    kind: Literal["address"] = "address"
    address: TlsAddress = Field(description="tls://host:port of the scheduler")
    security: KeyFiles = Field(description="Key files that the scheduler trusts")


Profile = Annotated[
    LocalProfile | SlurmProfile | MpiProfile | ClassProfile | AddressProfile, Field(discriminator="kind")
]

KINDS: dict[str, type[LocalProfile | SlurmProfile | MpiProfile | ClassProfile | AddressProfile]] = {
    "local": LocalProfile,
    "slurm": SlurmProfile,
    "mpi": MpiProfile,
    "class": ClassProfile,
    "address": AddressProfile,
}

_ONLY_IN_A_JOB = (
    "walltime partition account qos constraint reservation exclude licenses mail extra_directives "
    "memory_per_cpu".split()
)


def _one_memory(profile: _SlurmJob) -> None:
    if profile.memory is not None and profile.memory_per_cpu is not None:
        raise fault_at("memory_per_cpu", "stands beside memory", "keep one of the two")
    if profile.memory is None and profile.memory_per_cpu is None:
        raise fault_at("memory", "is missing", "write memory: 4 GiB, or memory_per_cpu")
