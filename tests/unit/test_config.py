"""The CLI's configuration: defaults, checks, suggestions, and that the file is never half-written. CPython only."""

import pytest
import yaml

from edgenet.cli.config import load, option, save
from edgenet.cli.options import OPTIONS, parse_age, parse_size
from edgenet.errors import ConfigInvalid, UnknownOption
from edgenet.host.files import Disk
from tests.unit.cli_site import Cli


def loaded(tmp_path, text):
    path = tmp_path / "models.yaml"
    path.write_text(text)
    return load(path, Disk())


def test_no_file_means_the_defaults(tmp_path):
    config = load(tmp_path / "none.yaml", Disk())
    assert config.all() == {row.name: row.default for row in OPTIONS} and not config.given


def test_every_default_passes_its_own_check():
    assert all(row.parse(row.default) == row.default for row in OPTIONS)


def test_the_documented_file_can_be_read(tmp_path):
    text = """version: 1
defaultSource: gcs
cache: {directory: ~/models, maxSize: 10GB, autoCleanup: true}
cdn: {endpoint: "https://models.example", timeout: 30000, retries: 3}
ipfs: {gateways: ["https://ipfs.example/ipfs/"]}
preferences: {preferQuantization: INT8, preferSmallModels: true, autoUpdate: true}
signing: {keyPath: ./private.pem, keyId: 0123456789abcdef}
"""
    config = loaded(tmp_path, text)
    assert (config["defaultSource"], config["cdn.timeout"], config["ipfs.gateways"]) == (
        "gcs",
        30000,
        ["https://ipfs.example/ipfs/"],
    )
    assert config.folder("signing.keyPath") == tmp_path / "private.pem"
    assert config.cache_limit == 10 * 10**9


BAD = [
    ("not YAML", "a: [", ConfigInvalid, "not YAML"),
    ("a list", "- a", ConfigInvalid, "key: value"),
    ("binary", "\x00\x01", ConfigInvalid, "not YAML"),
    ("an unknown key", "cdn: {endpont: x}", UnknownOption, "cdn.endpoint"),
    ("an unknown group", "cnd: {endpoint: x}", UnknownOption, "cnd"),
    ("a negative time", "cdn: {timeout: -1}", ConfigInvalid, "cdn.timeout must be a whole number"),
    ("a word for a number", "cdn: {retries: many}", ConfigInvalid, "cdn.retries"),
    ("a size without meaning", "cache: {maxSize: big}", ConfigInvalid, "10GB"),
    ("an unknown source", "defaultSource: moon", ConfigInvalid, "cdn, gcs, ipfs, folder"),
    ("a gateway that is no address", "ipfs: {gateways: [ipfs.io]}", ConfigInvalid, "http"),
    ("a newer form", "version: 2", ConfigInvalid, "version"),
    ("a map for a text", "cdn: {endpoint: {a: 1}}", ConfigInvalid, "cdn.endpoint"),
]


@pytest.mark.parametrize(("reason", "text", "error", "words"), BAD, ids=[row[0] for row in BAD])
def test_what_cannot_be_is_a_named_error(tmp_path, reason, text, error, words):
    with pytest.raises(error, match=words):
        loaded(tmp_path, text)


def test_suggestions_name_the_nearest_options():
    with pytest.raises(UnknownOption) as caught:
        option("cache.maxsize")
    assert "cache.maxSize" in caught.value.details["near"]
    with pytest.raises(UnknownOption, match="config show"):
        option("qqqqqq")


def test_setting_one_option_keeps_the_others(tmp_path):
    config = loaded(tmp_path, "cdn: {retries: 7}\n")
    save(config, "cacheDir", "/models", Disk())
    assert yaml.safe_load(config.path.read_text()) == {
        "version": 1,
        "cdn": {"retries": 7},
        "cache": {"directory": "/models"},
    }


def test_the_cli_shows_gets_and_sets(tmp_path):
    cli = Cli(tmp_path / "home")
    assert cli("config", "set", "ipfs.gateways", "https://a.example/ipfs/,https://b.example/ipfs/").code == 0
    assert cli("config", "get", "ipfs.gateways").out.strip() == "https://a.example/ipfs/,https://b.example/ipfs/"
    assert cli("config", "get", "ipfs.gateways", "--json").data["value"] == [
        "https://a.example/ipfs/",
        "https://b.example/ipfs/",
    ]
    assert "cdn.timeout" in cli("config", "show").out
    assert cli("config", "show", "--json").data["values"]["cdn.retries"] == 3
    before = cli.config.read_text()
    for name, value, code in (("cdn.timeout", "soon", "config_invalid"), ("cdn.timeot", "1", "unknown_option")):
        ran = cli("config", "set", name, value, "--json")
        assert (ran.code, ran.data["error"]["code"]) == (8, code)
    assert cli.config.read_text() == before


def test_a_broken_file_stops_every_command_with_its_name(tmp_path):
    cli = Cli(tmp_path / "home")
    cli.config.write_text("cdn: [")
    for args in (["list"], ["cache", "info"], ["config", "show"]):
        ran = cli(*args)
        assert ran.code == 8 and str(cli.config) in ran.err


@pytest.mark.parametrize(
    ("text", "size"), [("10GB", 10**10), ("1.5 MiB", 1572864), ("12", 12), ("3kb", 3000), ("2T", 2 * 10**12)]
)
def test_sizes(text, size):
    if text.endswith("T"):
        with pytest.raises(ValueError, match="10GB"):
            parse_size(text)
    else:
        assert parse_size(text) == size


@pytest.mark.parametrize(("text", "age"), [("30d", 2592000), ("12h", 43200), ("2w", 1209600)])
def test_ages(text, age):
    assert parse_age(text) == age
