"""A scheduler and two workers of this machine in processes of their own, until standard input ends."""

import json
import sys

from distributed import LocalCluster

if __name__ == "__main__":
    options = {"dashboard_address": None, "silence_logs": 50, "memory_limit": 0}
    with LocalCluster(n_workers=2, threads_per_worker=1, host="127.0.0.1", **options) as cluster:
        sys.stdout.write(json.dumps(cluster.scheduler_address) + "\n")
        sys.stdout.flush()
        sys.stdin.read()
