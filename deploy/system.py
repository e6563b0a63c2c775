"""The whole system on this machine: servers, provisioning, services; up, scaled and down."""

import json
import shutil
import sys
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.cache import Say
from deploy.installation import Installation
from deploy.offsets import ProvisionError, Report
from deploy.processes import Daemon, StartError, port_taken
from deploy.programs import PROGRAMS
from deploy.provision import provision
from deploy.servers import COMPOSE, Addresses, Servers
from deploy.settings import Machine
from deploy.supervisor import Plan, WorkerState, stop_all
from shared.events.catalog import PARTITIONS
from shared.settings import Settings

_READY_SECONDS = 60


@dataclass(frozen=True, slots=True)
class System:
    machine: Machine
    say: Say

    def up(self, environ: Mapping[str, str] | None = None) -> Addresses:
        """Returns when every service is ready; harmless where it runs. `environ`: what the services are told besides.

        Raises StartError, MissingTool, ProvisionError.
        """
        addresses = self.servers.up()
        self.installation.prepare()
        if self._supervisor().identity is None:
            self._check_ports()
            report = self.provision(addresses)
            for line in report.done:
                self.say(f"  {line}")
            self._start(addresses, environ or {})
        self.wait_ready()
        return addresses

    def down(self) -> None:
        """Stops the services, then the servers that `up` started. Data stays."""
        self._supervisor().stop()
        stop_all(self.plan.left_behind())
        self.plan.forget()
        self.servers.down()

    def delete(self) -> list[str]:
        """Stops everything, deletes what it kept here, and names that; servers that were named keep theirs.

        Raises StartError, MissingTool: then secrets are still there, because volumes that stay need them.
        """
        self._check_deletable()
        self.down()
        gone = self.servers.delete()
        if self.machine.data_dir.exists():
            shutil.rmtree(self.machine.data_dir)
            gone.append(str(self.machine.data_dir))
        return gone

    def provision(self, addresses: Addresses, *, repair: bool = False) -> Report:
        report = provision(self.settings(addresses), repair=repair)
        if report.wrong:
            raise ProvisionError("\n".join([*report.wrong, "`guanxi provision --repair` sets these offsets"]))
        return report

    def scale(self, service: str, count: int) -> None:
        """Returns when `count` processes of `service` are ready. Raises StartError, ValueError."""
        if service not in PROGRAMS:
            raise ValueError(f"services are {', '.join(PROGRAMS)}")
        if not 0 <= count <= PARTITIONS:
            raise ValueError(f"0 to {PARTITIONS}: a process without a partition has nothing to do")
        if self._supervisor().identity is None:
            raise StartError("nothing runs here: start it with `guanxi up`")
        self.plan.want({**self.plan.wanted(), service: count})
        self.wait_ready((service,))

    def wait_ready(self, services: Collection[str] = PROGRAMS) -> None:
        """Raises StartError that tells what each of those that are not said last."""
        deadline = time.monotonic() + _READY_SECONDS
        while missing := [state for state in self._not_ready() if state.service in services]:
            if time.monotonic() > deadline or any(state.restarts > 2 for state in missing):
                raise StartError("\n".join(_complaint(state, self.plan.home) for state in missing))
            time.sleep(0.1)

    def states(self) -> list[WorkerState]:
        """Empty where no supervisor runs."""
        return self.plan.states() if self._supervisor().identity else []

    def addresses(self) -> Addresses:
        """Of what runs; StartError where nothing does."""
        known = self.servers.known()
        if known is not None and known.answered:
            return known
        if self.machine.named_kafka and self.machine.named_mongo:
            return Addresses(self.machine.named_kafka, self.machine.named_mongo, "named")
        raise StartError("nothing runs here: start it with `guanxi up`")

    def settings(self, addresses: Addresses) -> Settings:
        """The services' settings, with the servers that are really used."""
        return Settings.from_environment({**self.machine.environ, **self.environ(addresses)}, Path("/nonexistent"))

    def environ(self, addresses: Addresses) -> dict[str, str]:
        """For processes that belong to this copy: services, their maintenance commands."""
        return {**_ours(self.machine.environ), **self.installation.environ(addresses)}

    def url(self, service: str) -> str:
        return f"http://127.0.0.1:{self.machine.services.port_of(service)}"

    @property
    def servers(self) -> Servers:
        return Servers(self.machine, self.say)

    @property
    def installation(self) -> Installation:
        return Installation(self.machine)

    @property
    def plan(self) -> Plan:
        return Plan(self.machine.data_dir / "run")

    def _start(self, addresses: Addresses, environ: Mapping[str, str]) -> None:
        self.say("starting the services …")
        stop_all(self.plan.left_behind())
        self.plan.forget()
        supervisor = self._supervisor()
        supervisor.environ = {**self.environ(addresses), **environ}
        supervisor.spawn()

    def _supervisor(self) -> Daemon:
        home = self.plan.home
        ports = json.dumps({name: self.machine.services.port_of(name) for name in PROGRAMS})
        argv = [sys.executable, "-m", "deploy.supervisor", str(home), ports]
        return Daemon("supervisor", home, argv, lambda: True, stop_seconds=40)

    def _check_deletable(self) -> None:
        for kept in (Path.home(), Path.cwd(), COMPOSE.parent):
            if kept.resolve().is_relative_to(self.machine.data_dir):
                raise StartError(
                    f"GUANXI_DATA_DIR={self.machine.data_dir} holds {kept} as well: delete its data by hand"
                )

    def _check_ports(self) -> None:
        left = {identity.pid for identity in self.plan.left_behind()}
        taken = [name for name in PROGRAMS if port_taken(self.machine.services.port_of(name))]
        if taken and not left:
            names = ", ".join(f"GUANXI_{name.upper()}_PORT={self.machine.services.port_of(name)}" for name in taken)
            raise StartError(f"taken by other programs: {names}. Set them to free ports")

    def _not_ready(self) -> list[WorkerState]:
        """What is wanted and does not answer yet, also where the supervisor has not noticed the wish."""
        states = {(state.service, state.number): state for state in self.plan.states()}
        wanted = [(service, n) for service, count in self.plan.wanted().items() for n in range(1, count + 1)]
        missing = [states.get(key) or WorkerState(*key, 0, None, 0, "not started yet") for key in wanted]
        surplus = [state for key, state in states.items() if key not in wanted]
        return [state for state in missing if state.pid is None or not state.ready()] + surplus


def _complaint(state: WorkerState, home: Path) -> str:
    words = state.last_words or f"see {home / f'{state.service}-{state.number}.log'}"
    return f"{state.service} {state.number} is not ready. {words}"


def _ours(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if name.startswith("GUANXI_")}
