"""A scheduler and two workers of this machine in processes of their own, as long as anybody holds the lease of a folder."""

import fcntl
import sys
from pathlib import Path

from distributed import LocalCluster

if __name__ == "__main__":
    place = Path(sys.argv[1])
    options = {"dashboard_address": None, "silence_logs": 50, "memory_limit": 0}
    with LocalCluster(n_workers=2, threads_per_worker=1, host="127.0.0.1", **options) as cluster:
        (place / "address.new").write_text(cluster.scheduler_address)
        (place / "address.new").replace(place / "address")
        with (place / "lease").open("a") as lease:
            # The system drops the locks of those who were killed, too.
            fcntl.flock(lease, fcntl.LOCK_EX)
            (place / "address").unlink()
