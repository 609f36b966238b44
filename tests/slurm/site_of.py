"""A user's folder, with a profile for the private Slurm: what a user has on a cluster."""

from user_folder import UserFolder

PROFILE = {
    "kind": "slurm", "workers": 2, "cores": 1, "memory": "600 MB", "interface": "lo", "partition": "main",
    "walltime": "00:10:00", "driver": {"memory": "500 MB"},
}  # fmt: skip


class Site(UserFolder):
    """A user's folder on a cluster."""

    def __init__(self, slurm, folder, **more):
        self.slurm = slurm
        super().__init__(folder, slurm.environment, PROFILE, **more)

    def computed(self):
        """Return (item, job) of each call of the function, in the order they began."""
        return [(int(item), job) for item, _, job in super().computed()]


def run_of(site):
    """Return the directory of the last run."""
    return site.folder / "runs" / site.status()["name"]
