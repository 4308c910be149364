"""Clients that do not wait for their answer."""

import subprocess
import sys
from pathlib import Path

from tests.chaos.cluster import PATIENCE, Cluster, wait_until
from tests.chaos.conftest import Data, Report
from tests.chaos.run import Scale, under_load


def test_clients_that_disconnect_in_the_middle_of_a_request_disturb_no_other(
    scale: Scale, data: Data, tmp_path: Path, report: Report
) -> None:
    times = 10_000 if scale.full else 500
    with Cluster(tmp_path, data.packed) as cluster, under_load(cluster, data.text, scale) as run:
        router = cluster.router
        open_files = router.open_files
        command = [sys.executable, "-m", "tests.chaos.disconnect", str(data.text)]
        run.mark(f"{times} clients come and go")
        subprocess.run([*command, "--url", router.url, "--times", str(times)], check=True, timeout=4 * PATIENCE)
        run.mark("the last is gone")
        wait_until(lambda: router.open_files <= open_files, "the router has closed the connections of the gone")
        assert "Traceback" not in router.logged()
    report("disconnects", f"{times:,} clients disconnect in the middle of a request", run)
