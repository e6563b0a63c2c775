"""What a copy reads from its environment, what it makes for itself, and what it says is missing."""

import json
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deploy.cache import Cache, MissingTool
from deploy.commands import running
from deploy.console import Failure
from deploy.doctor import examine
from deploy.installation import Installation
from deploy.kafka import LocalKafka
from deploy.processes import Daemon, free_port, port_taken
from deploy.programs import PROGRAMS
from deploy.servers import Addresses, Servers
from deploy.settings import Machine
from deploy.store import LocalStore
from deploy.system import System
from shared.settings import FOR_COMMANDS, Settings, SettingsError, read_env_file
from shared.web.keys import KeyRing

NOTHING = Path("/nonexistent")


def machine(tmp_path: Path, **environ: str) -> Machine:
    given = {
        "GUANXI_DATA_DIR": str(tmp_path / "data"),
        "GUANXI_CACHE_DIR": str(tmp_path / "cache"),
        "GUANXI_LAYER": "local",
    }
    return Machine.from_environment({**given, **environ}, NOTHING)


def test_the_cache_lies_outside_the_clone() -> None:
    assert Machine.from_environment({"XDG_CACHE_HOME": "/x"}, NOTHING).cache_dir == Path("/x/guanxi")
    assert Machine.from_environment({}, NOTHING).cache_dir == Path.home() / ".cache" / "guanxi"


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text("GUANXI_KAFKA_PORT=1111\nGUANXI_STORE_PORT=2222\n")
    found = Machine.from_environment({"GUANXI_KAFKA_PORT": "3333"}, env_file)
    assert (found.kafka_port, found.store_port) == (3333, 2222)


@pytest.mark.parametrize(
    ("name", "value"), [("GUANXI_KAFKA_PORT", "many"), ("GUANXI_LAYER", "cloud"), ("GUANXI_TYPO", "1")]
)
def test_a_wrong_setting_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        Machine.from_environment({name: value}, NOTHING)


def test_secrets_are_made_once_and_for_their_owner_only(tmp_path: Path) -> None:
    installation = Installation(machine(tmp_path))
    installation.prepare()
    made = installation.secrets_file.read_text()
    installation.prepare()
    assert installation.secrets_file.read_text() == made
    assert set(json.loads(made)) == {"key_encryption_key", "blind_index_pepper"}
    for path in (installation.secrets_file, installation.operator_file, installation.keys_file):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_operators_key_is_valid_and_replaced_when_it_no_longer_is(tmp_path: Path) -> None:
    installation = Installation(machine(tmp_path))
    installation.prepare()
    key = installation.operator_key()
    assert key is not None
    principal = KeyRing(installation.keys_file).principal(key)
    assert principal is not None
    assert principal.may("staff")
    assert not principal.may("unseal")
    KeyRing(installation.keys_file).revoke(principal.key_id)
    assert installation.operator_key() is None
    installation.prepare()
    assert installation.operator_key() not in (None, key)


def test_services_are_told_absolute_paths_and_the_servers_really_used(tmp_path: Path) -> None:
    told = Installation(machine(tmp_path, GUANXI_INTAKE_PORT="9001")).environ(Addresses("k:1", "mongodb://m", "local"))
    assert told["GUANXI_KAFKA_BOOTSTRAP"] == "k:1"
    assert told["GUANXI_MONGO_URL"] == "mongodb://m"
    assert told["GUANXI_INTAKE_PORT"] == "9001"
    assert all(
        Path(told[name]).is_absolute() for name in ("GUANXI_DATA_DIR", "GUANXI_CONFIG_DIR", "GUANXI_SECRETS_FILE")
    )


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cache:
    """A machine with no tools at all."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return Cache(machine(tmp_path), print)


def test_what_is_missing_is_named_with_the_command_that_installs_it(bare: Cache) -> None:
    with pytest.raises(MissingTool, match="apt-get install openjdk"):
        bare.java()
    with pytest.raises(MissingTool, match="apt-get install maven"):
        Cache(
            bare.machine.__class__.from_environment({**bare.machine.environ, "GUANXI_JAVA": "/java"}, NOTHING), print
        ).kafka_jars()
    with pytest.raises(MissingTool, match="rustup"):
        bare.store_binary()
    assert not bare.has_kafka()
    assert not bare.has_store()


def test_a_build_that_failed_leaves_nothing_that_looks_built(bare: Cache) -> None:
    with pytest.raises(MissingTool):
        bare.store_binary()
    assert [path.name for path in bare.root.iterdir() if path.is_dir()] == []


def test_the_doctor_names_everything_that_a_bare_machine_lacks(bare: Cache) -> None:
    missing = {finding.what for finding in examine(bare.machine) if finding.needed and not finding.ok}
    assert missing >= {"Java 17 or newer", "mvn", "cargo", "cmake", "cc"}


@pytest.mark.parametrize(("name", "what"), [("JAVA", "Java 17 or newer"), ("STORE_BINARY", "document store")])
def test_a_program_that_was_named_and_is_none_is_missing(bare: Cache, name: str, what: str) -> None:
    named = Machine.from_environment({**bare.machine.environ, f"GUANXI_{name}": "/nowhere"}, NOTHING)
    words = {finding.what: finding.words for finding in examine(named) if not finding.ok}
    assert f"unset GUANXI_{name}" in words[what]
    with pytest.raises(MissingTool, match=f"GUANXI_{name}"):
        _ = Cache(named, print).java() if name == "JAVA" else Cache(named, print).store_binary()


@pytest.fixture
def free(tmp_path: Path) -> Machine:
    """Of whose ports nobody has any."""
    names = ("KAFKA", "STORE", *map(str.upper, PROGRAMS))
    return machine(tmp_path, **{f"GUANXI_{name}_PORT": str(free_port()) for name in names})


@contextmanager
def answering(home: Path, name: str, port: int) -> Iterator[Daemon]:
    argv = (sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1")
    daemon = Daemon(name, home, argv, lambda: port_taken(port))
    daemon.start()
    try:
        yield daemon
    finally:
        daemon.stop()


def taken(of: Machine) -> list[str]:
    return [finding.words for finding in examine(of) if finding.what.startswith("port ")]


def test_a_port_that_another_program_has_is_named(free: Machine, tmp_path: Path) -> None:
    with answering(tmp_path, "stranger", free.kafka_port), answering(tmp_path, "other", free.services.intake_port):
        assert [name for name in ("KAFKA", "INTAKE") if f"GUANXI_{name}_PORT" in " ".join(taken(free))] == [
            "KAFKA",
            "INTAKE",
        ]


def test_our_own_processes_are_no_strangers_to_the_doctor(free: Machine) -> None:
    """Also where the rest of the system never came up."""
    home = free.data_dir / "run"
    kafka = answering(free.data_dir / "kafka", "kafka", free.kafka_port)
    with kafka, answering(home, "intake-1", free.services.intake_port):
        assert taken(free) == []


def test_a_stranger_is_named_also_while_the_rest_of_ours_runs(free: Machine, tmp_path: Path) -> None:
    free.data_dir.mkdir()
    Servers(free, print)._remember(Addresses("127.0.0.1:1", "mongodb://127.0.0.1:1", "local"))
    with answering(tmp_path, "stranger", free.services.intake_port):
        assert ["GUANXI_INTAKE_PORT" in words for words in taken(free)] == [True]


def test_a_first_start_that_lacks_a_tool_says_how_to_stop_the_rest(
    free: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def begins(server: LocalKafka) -> None:
        server.daemon.argv = (sys.executable, "-m", "http.server", str(server.port), "--bind", "127.0.0.1")
        server.daemon.ready = lambda: port_taken(server.port)
        server.daemon.start()

    def lacks(_store: LocalStore) -> None:
        raise MissingTool("cargo is missing: curl https://sh.rustup.rs -sSf | sh")

    monkeypatch.setattr(LocalKafka, "begin", begins)
    monkeypatch.setattr(LocalStore, "begin", lacks)
    monkeypatch.setattr(running, "system", lambda: System(free, print))
    with pytest.raises(Failure, match=r"(?s)cargo is missing.*guanxi down"):
        running.up()
    kafka = Servers(free, print).local_kafka.daemon
    assert (kafka.identity is not None, taken(free)) == (True, [])
    running.down()
    assert kafka.identity is None


def test_the_doctor_reports_a_store_whose_address_is_none(bare: Cache) -> None:
    named = Machine.from_environment({**bare.machine.environ, "GUANXI_MONGO_URL": "mongodb://localhost:abc"}, NOTHING)
    assert "the store answers" in {finding.what for finding in examine(named) if not finding.ok}


def test_the_doctor_wants_no_tools_where_servers_are_named(bare: Cache) -> None:
    named = {"GUANXI_KAFKA_BOOTSTRAP": "127.0.0.1:1", "GUANXI_MONGO_URL": "mongodb://127.0.0.1:1"}
    findings = examine(Machine.from_environment({**bare.machine.environ, **named}, NOTHING))
    missing = {finding.what for finding in findings if finding.needed and not finding.ok}
    assert missing >= {"Kafka answers", "the store answers"}
    assert not missing & {"mvn", "cargo"}


def test_two_copies_share_neither_data_nor_containers(tmp_path: Path) -> None:
    one, two = (Servers(machine(tmp_path, GUANXI_DATA_DIR=str(tmp_path / n)), print) for n in ("one", "two"))
    assert one.local_kafka.home != two.local_kafka.home
    assert one.project != two.project


def example_settings() -> list[str]:
    """The lines of the example as they read once their # is taken away."""
    lines = (Path(__file__).parents[2] / ".env.example").read_text().splitlines()
    return [line.removeprefix("#") for line in lines if line.startswith("#GUANXI_")]


@pytest.mark.parametrize("line", example_settings(), ids=lambda line: line.partition("=")[0])
def test_every_line_of_the_example_can_be_used(line: str, tmp_path: Path) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text(f"{line}\n")
    found = Machine.from_environment({}, env_file)
    (value,) = read_env_file(env_file).values()
    assert value == line.partition("=")[2].split(" ")[0]
    places = (found.data_dir, found.cache_dir, found.store_binary, found.services.config_dir)
    assert "~" not in "".join(map(str, places))


@pytest.mark.parametrize("name", ["CACHE_DIR", "STORE_BINARY", "JAVA", "DATA_DIR", "CONFIG_DIR", "KEYS_FILE"])
def test_a_place_may_begin_at_home(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/at-home")
    found = Machine.from_environment({f"GUANXI_{name}": "~/it"}, NOTHING)
    attribute = name.lower()
    assert str(getattr(found.services, attribute, None) or getattr(found, attribute)) == "/at-home/it"


def test_the_example_names_every_setting_with_its_default() -> None:
    shown = dict(line.partition(" ")[0].split("=", 1) for line in example_settings())
    names = {name.removeprefix("GUANXI_") for name in shown}
    assert names == {name.upper() for name in Settings.model_fields} | FOR_COMMANDS
    plain = {
        name: field.default
        for name, field in Settings.model_fields.items()
        if isinstance(field.default, int | float | str)
    }
    assert {name: shown[f"GUANXI_{name.upper()}"] for name in plain if plain[name] is not None} == {
        name: str(default) for name, default in plain.items()
    }
