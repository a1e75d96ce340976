"""
An image service that is several processes.
"""

from __future__ import annotations

from pathlib import Path

from attrs import define

from tests.functional.daemons import API_CONFIG, DaemonProcess
from tests.functional.service import ImageCase
from tests.ports import free_port

CONFIG = API_CONFIG.replace("[DEFAULT]\n", "[DEFAULT]\nworkers = 2\n{more}\n") + "\n[management]\nbind_port = {side}\n"


@define
class Service(DaemonProcess):
    """
    An image service with two workers and a management port.
    """

    side: DaemonProcess | None = None
    """Asks the management port; it is never started."""

    def configure(self, more: str = "", config: str = CONFIG) -> None:
        """
        Say what stands in its file from its next start on.
        """
        assert self.side is not None
        self.config = config.replace("{side}", str(self.side.port)).replace("{more}", more)

    def wait(self) -> int:
        """
        Wait for its end, and tell its status.
        """
        assert self._process is not None
        return self._process.wait(timeout=60)

    def rewrite(self) -> None:
        """
        Write the file now.
        """
        path = self.folder / f"{self.name}.conf"
        path.write_text(self.config.format(port=self.port, folder=self.folder))

    def metric(self, name: str) -> float:
        """
        Read a metric without labels, or the sum of one with labels.
        """
        assert self.side is not None
        text = self.side.ask("GET", "/metrics", None).body.decode()
        values = [
            float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith((f"{name} ", f"{name}{{"))
        ]
        return sum(values)

    @property
    def workers(self) -> list[int]:
        """
        The processes below the parent.
        """
        return children_of(self.pid)


def children_of(pid: int) -> list[int]:
    """
    List the processes below another one.
    """
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def lives(pid: int) -> bool:
    """
    Whether a process is there, and more than a status that nobody asked for yet.
    """
    process = Path(f"/proc/{pid}")
    try:
        # The last thread to end closes the files: that of the process itself may be gone long before.
        return process.joinpath("stat").read_text().rsplit(")", 1)[1].split()[0] != "Z" or (
            len(list(process.joinpath("task").iterdir())) > 1
        )
    except OSError:
        return False


class WorkersTestCase(ImageCase):
    """
    A service with two workers.
    """

    api: Service

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.api = Service("glance-api", self.folder, "")
        self.api.side = DaemonProcess("management", self.folder, "", free_port())
        self.addCleanup(self.api.kill)

    def start(self, more: str = "", config: str = CONFIG) -> None:
        """
        Start it, and wait until both workers serve.
        """
        self.api.configure(more, config)
        self.api.start()
        self.wait_until_well()

    def wait_until_well(self, count: int = 2) -> None:
        """
        Wait until so many workers serve, and no other is left.
        """
        self.wait_for(lambda: self.well(count))

    def well(self, count: int) -> bool:
        try:
            ready = self.api.metric("glance_api_workers_ready")
        except OSError:
            return False
        return ready == count and len(self.api.workers) == count

    def writer_of(self, image_id: str) -> int:
        """
        Tell which worker has an image's data file open.
        """
        for pid in self.api.workers:
            for link in Path(f"/proc/{pid}/fd").iterdir():
                try:
                    if image_id in str(link.readlink()):
                        return pid
                except OSError:
                    continue
        raise AssertionError(f"nobody writes {image_id}")
