"""Settings: read once, refused when misspelt, silent about secrets."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from shared.settings import Settings, SettingsError, read_env_file

NO_FILE = Path("/nonexistent/.env")


def read(**environ: str) -> Settings:
    return Settings.from_environment({f"GUANXI_{name}": value for name, value in environ.items()}, NO_FILE)


def test_the_defaults_are_those_that_people_were_told() -> None:
    settings = read()
    assert [settings.port_of(s) for s in ("intake", "segmentation", "followup", "feedback")] == [8001, 8002, 8003, 8004]
    assert (settings.clock, settings.batch_size, settings.merge_patience_seconds) == ("wall", 2000, 2.0)
    assert (settings.session_timeout_ms, settings.group_commit) == (10_000, None)
    assert (settings.config_dir / "..").resolve().name == "deploy"
    assert settings.data_dir == Path(".guanxi")


def test_the_environment_is_converted_and_wins_over_the_file(tmp_path: Path) -> None:
    env = tmp_path / ".env"
    env.write_text("# ours\nexport GUANXI_CLOCK=log\nGUANXI_BATCH_SIZE='7'\nOTHER=1\n\n")
    settings = Settings.from_environment({"GUANXI_BATCH_SIZE": "9", "GUANXI_GROUP_COMMIT": "true"}, env)
    assert (settings.clock, settings.batch_size, settings.group_commit) == ("log", 9, True)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("log  # moves with the data", "log"),
        ("'log # not'", "log # not"),
        ('"log" # so', "log"),
        ("mongodb://m/#1", "mongodb://m/#1"),
        ("# nothing", ""),
        ("", ""),
    ],
)
def test_a_comment_behind_a_value_is_none_of_it(written: str, meant: str, tmp_path: Path) -> None:
    env = tmp_path / ".env"
    env.write_text(f"GUANXI_NAME={written}\n")
    assert read_env_file(env) == {"GUANXI_NAME": meant}


@pytest.mark.parametrize("wrong", ["localhost:abc", "localhost:", "a:1,b:99999", ":9092"])
def test_what_cannot_be_kafkas_address_is_refused_before_anything_starts(wrong: str) -> None:
    with pytest.raises(SettingsError, match="GUANXI_KAFKA_BOOTSTRAP"):
        read(KAFKA_BOOTSTRAP=wrong)


@pytest.mark.parametrize("right", ["kafka:19092", "a:1,b:2", "[::1]:9092", "kafka", ""])
def test_kafkas_address_may_name_several_and_leave_the_port_out(right: str) -> None:
    assert read(KAFKA_BOOTSTRAP=right).kafka_bootstrap == right


def test_what_was_given_can_be_told_from_the_default() -> None:
    assert "kafka_bootstrap" in read(KAFKA_BOOTSTRAP="127.0.0.1:9092").model_fields_set
    assert "kafka_bootstrap" not in read().model_fields_set


def test_a_misspelt_or_wrong_name_is_refused_with_all_names_at_once_and_without_values() -> None:
    with pytest.raises(SettingsError) as caught:
        read(BATCHSIZE="10", CLOCK="sundial-secret", SEGMENTATION_PORT="99999")
    message = str(caught.value)
    assert "GUANXI_BATCHSIZE: no such setting" in message
    assert "GUANXI_CLOCK: " in message
    assert "GUANXI_SEGMENTATION_PORT: " in message
    assert "sundial" not in message
    assert "99999" not in message


def test_names_of_the_command_line_pass() -> None:
    assert read(CACHE_DIR="/elsewhere", TEST_SEEDS="9") == read()


def test_keys_and_secrets_move_with_the_data_directory_unless_placed() -> None:
    moved = read(DATA_DIR="/data/two")
    assert (moved.secrets_file, moved.keys_file) == (Path("/data/two/secrets.json"), Path("/data/two/keys.json"))
    placed = read(DATA_DIR="/data/two", KEYS_FILE="/run/keys.json")
    assert placed.keys_file == Path("/run/keys.json")


def test_settings_do_not_change_and_do_not_show_the_store_password() -> None:
    settings = read(MONGO_URL="mongodb://intake:hunter2@db/")
    with pytest.raises(ValidationError):
        settings.batch_size = 1  # type: ignore[misc]
    assert "hunter2" not in repr(settings)
