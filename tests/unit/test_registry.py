"""Opening storages: schemes, plug-ins, options and where they come from, layers, round trips, secrets."""

from __future__ import annotations

import json
import logging
import pickle
import subprocess
import sys
import traceback
import uuid
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import ClassVar, Literal

import pytest

from mediagit_storage import registry
from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.errors import ConfigError, PermissionDeniedError
from mediagit_storage.opening import LiteralSecretWarning, locate, open_storage
from mediagit_storage.registry import backend_types, layer_types, register_backend, register_layer
from mediagit_storage.secrets import Secret, SecretRef, SecretValue, resolve_secret
from mediagit_storage.settings import bucket_url, export_config
from mediagit_storage.types import ConnectionInfo

CANARY = "canary-5Zq81"


@dataclass(frozen=True, slots=True)
class FakeConfig:
    """Every kind of option that there is."""

    bucket: str
    endpoint: str = "https://example.invalid"
    region: str | None = None
    attempts: int = 3
    timeout: float = 60.0
    verify: bool = True
    style: Literal["path", "host"] = "host"
    hosts: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    access_key: SecretValue | None = None
    secret_key: SecretValue | None = None

    ENVIRONMENT: ClassVar[Mapping[str, str]] = {
        "endpoint": "FAKE_ENDPOINT",
        "region": "FAKE_REGION",
        "attempts": "FAKE_ATTEMPTS",
        "verify": "FAKE_VERIFY",
        "secret_key": "FAKE_SECRET",
    }
    HOST_OPTION: ClassVar[str] = "endpoint"

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ConfigError("attempts is at least 1")


class FakeBackend(MemoryBackend):
    """A memory storage that remembers its configuration and whether it was closed."""

    def __init__(self, config):
        super().__init__("fake")
        self.config = config
        self.closed = False

    @classmethod
    def opened_by(cls, config):
        return cls(config)

    def connection_info(self):
        return ConnectionInfo("fake", export_config(self.config))

    def close(self):
        self.closed = True

    def __reduce__(self):
        return (FakeBackend, (self.config,))


@dataclass(frozen=True)
class NoiseConfig:
    """A layer with a secret."""

    key: SecretValue
    level: int = 1


@pytest.fixture(autouse=True)
def fresh_registry(monkeypatch):
    """Registrations of a test end with it."""
    monkeypatch.setattr(registry._backends, "_entries", {})
    monkeypatch.setattr(registry._layers, "_entries", {})


@pytest.fixture
def fake(fresh_registry):
    register_backend("fake", FakeBackend.opened_by, FakeConfig, url_config=bucket_url("bucket"))


@pytest.fixture
def profiles(tmp_path):
    """Write profiles, and the environment that leads to them."""

    def write(text: str, **more: str) -> dict[str, str]:
        path = tmp_path / "profiles.toml"
        path.write_text(text)
        path.chmod(0o600)
        return {"MGS_CONFIG": str(path), **more}

    return write


def config_of(storage) -> FakeConfig:
    return storage.backend.config


def fresh() -> str:
    return f"memory://{uuid.uuid4().hex}"


# ---- schemes and plug-ins


def test_the_known_types_are_listed():
    assert set(backend_types()) >= {"file", "memory"}
    assert set(layer_types()) >= {"prefix", "readonly"}
    assert list(backend_types()) == sorted(backend_types())


@pytest.mark.parametrize("target", ["nope://x", ConnectionInfo("nope", {})])
def test_an_unknown_scheme_lists_the_known_ones(target):
    with pytest.raises(ConfigError, match=r"unknown scheme 'nope' \(known: .*file.*memory"):
        open_storage(target)


def test_a_near_miss_is_suggested():
    with pytest.raises(ConfigError, match="did you mean 'memory'"):
        open_storage("memry://x")


def test_an_unknown_layer_lists_the_known_ones():
    with pytest.raises(ConfigError, match=r"unknown layer 'redonly' \(known: .*readonly.*\); did you mean 'readonly'"):
        open_storage(fresh(), layers=["redonly"])


def test_registering(fake):
    assert "fake" in backend_types()
    register_backend("fake", FakeBackend.opened_by, FakeConfig, url_config=registry.backend_entry("fake").url_config)
    with pytest.raises(ConfigError, match="registered already"):
        register_backend("fake", FakeBackend, FakeConfig)
    with pytest.raises(ConfigError, match="registered already"):
        register_backend("file", FakeBackend, FakeConfig)
    with pytest.raises(ConfigError, match="registered already"):
        register_layer("readonly", lambda inner, config: inner, NoiseConfig)


@pytest.mark.parametrize("name", ["", "a", "A", "Fake", "a b", "a:b", "1a", "a/b"])
def test_names_that_no_url_could_have_are_refused(name):
    with pytest.raises(ConfigError, match="cannot be the name"):
        register_backend(name, FakeBackend, FakeConfig)


def test_a_backend_without_urls_says_so():
    register_backend("fake", FakeBackend, FakeConfig)
    with pytest.raises(ConfigError, match="has no URL; open it by a ConnectionInfo"):
        open_storage("fake://b")
    assert config_of(open_storage(ConnectionInfo("fake", {"bucket": "b"}))).bucket == "b"


PLUGIN = """
from mediagit_storage.registry import register_backend
from mediagit_storage.backends.memory import MemoryBackend, MemoryConfig
from mediagit_storage.settings import bucket_url

def register():
    register_backend("plugged", MemoryBackend.from_config, MemoryConfig, url_config=bucket_url("name"))

def forget():
    pass
"""


@pytest.fixture
def plugins(monkeypatch, tmp_path):
    """Install entry points whose modules lie in a temporary folder."""
    monkeypatch.syspath_prepend(tmp_path)

    def install(*points: tuple[str, str], **modules: str) -> None:
        for module, text in modules.items():
            (tmp_path / f"{module}.py").write_text(text)
            monkeypatch.delitem(sys.modules, module, raising=False)
        found = EntryPoints(EntryPoint(name, value, registry.BACKEND_GROUP) for name, value in points)
        monkeypatch.setattr("importlib.metadata.entry_points", lambda *, group: found.select(group=group))

    return install


def test_a_plugin_is_loaded_when_its_scheme_is_asked_for(plugins):
    plugins(("plugged", "mgs_plug_a:register"), ("other", "mgs_plug_b:register"), mgs_plug_a=PLUGIN, mgs_plug_b="1/0")
    assert {"plugged", "other"} <= set(backend_types())
    assert "mgs_plug_a" not in sys.modules
    with open_storage("plugged://x") as storage:
        storage.put("a", b"1")
    assert "mgs_plug_b" not in sys.modules


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("mgs_plug_c:register", "ZeroDivisionError"),
        ("mgs_plug_missing:register", "ModuleNotFoundError"),
        ("mgs_plug_d:absent", "AttributeError"),
    ],
)
def test_a_plugin_that_fails_is_named(plugins, place, reason):
    plugins(("plugged", place), mgs_plug_c="1/0", mgs_plug_d=PLUGIN)
    with pytest.raises(ConfigError, match=f"plug-in '{place}' for the scheme 'plugged' cannot be loaded: {reason}"):
        open_storage("plugged://x")
    open_storage(fresh()).close()


def test_a_plugin_that_registers_nothing_is_named(plugins):
    plugins(("plugged", "mgs_plug_e:forget"), mgs_plug_e=PLUGIN)
    with pytest.raises(ConfigError, match="did not register"):
        open_storage("plugged://x")


def test_opening_a_folder_imports_no_other_backend(tmp_path):
    code = (
        "import sys; from mediagit_storage.opening import open_storage\n"
        f"open_storage({str(tmp_path)!r}).close()\n"
        "print([name for name in sys.modules if name.startswith('mediagit_storage.backends.')"
        " and not name.startswith('mediagit_storage.backends.local')])\n"
        "print([name for name in ('msgspec', 'platformdirs', 'importlib.metadata', 'click') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert result.stdout.split() == ["[]", "[]"]


# ---- what a storage is named by


def test_memory_is_one_store_for_each_name():
    name = fresh()
    open_storage(name).put("a", b"1")
    assert open_storage(name).get("a") == b"1"
    assert not open_storage(fresh()).exists("a")


@pytest.mark.parametrize(
    "kind", [str, Path, lambda path: f"file://{path}", lambda path: ConnectionInfo("file", {"path": str(path)})]
)
def test_a_folder_by_any_name(tmp_path, kind):
    with open_storage(kind(tmp_path / "new"), create=True) as storage:
        storage.put("a", b"1")
    assert (tmp_path / "new" / "a").read_bytes() == b"1"


def test_a_path_is_never_a_profile(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with open_storage(Path("media:x"), create=True) as storage:
        storage.put("a", b"1")
    assert (tmp_path / "media:x" / "a").exists()


@pytest.mark.parametrize("target", [None, 5, b"/tmp"])
def test_what_names_no_storage_is_a_type_error(target):
    with pytest.raises(TypeError):
        open_storage(target)


def test_keys_has_two_values():
    with pytest.raises(ConfigError, match="'strict' or 'raw'"):
        open_storage(fresh(), keys="any")
    open_storage(fresh(), keys="raw").put("a//b", b"1")


@pytest.mark.parametrize(
    ("path", "prefix"), [("/p", "p/"), ("/p/", "p/"), ("/a/b", "a/b/"), ("/a%20b", "a b/"), ("//p", "/p/")]
)
def test_what_follows_the_bucket_is_a_folder(path, prefix):
    name = fresh()
    open_storage(name + path).put("k", b"1")
    assert [info.key for info in open_storage(name).list("")] == [f"{prefix}k"]


@pytest.mark.parametrize("path", ["", "/"])
def test_nothing_after_the_bucket_is_no_folder(path):
    assert "layers" not in open_storage(fresh() + path).connection_info().config


# ---- options, and what beats what


def test_options_of_a_url_are_text_that_is_converted(fake):
    url = "fake://b?attempts=5&timeout=1.5&verify=false&style=path&region=5&endpoint=http://h/x%3Fy"
    config = config_of(open_storage(url, environ={}))
    assert (config.bucket, config.attempts, config.timeout, config.verify, config.style) == ("b", 5, 1.5, False, "path")
    assert (config.region, config.endpoint) == ("5", "http://h/x?y")


def test_other_options_have_their_type_already(fake):
    options = {"attempts": 5, "timeout": 2, "verify": False, "hosts": ["a", "b"], "headers": {"x": "y"}, "region": None}
    config = config_of(open_storage("fake://b", options=options, environ={}))
    assert (config.attempts, config.timeout, config.hosts, config.headers) == (5, 2.0, ("a", "b"), {"x": "y"})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attempts": "5"}, "'attempts' of the fake storage is a whole number, not this text"),
        ({"attempts": 1.5}, "'attempts' of the fake storage is a whole number, not a number"),
        ({"attempts": True}, "'attempts' of the fake storage is a whole number, not true or false"),
        ({"verify": 1}, "'verify' of the fake storage is true or false, not a whole number"),
        ({"region": 5}, "'region' of the fake storage is a text, not a whole number"),
        ({"style": "other"}, "'style' of the fake storage is 'path' or 'host', not this text"),
        ({"hosts": "a"}, "'hosts' of the fake storage is tuple, not this text"),
        ({"timeout": None}, "'timeout' of the fake storage is a number, not nothing"),
        ({"region": {"env": "A"}}, "'region' of the fake storage is a text, not a table"),
        ({"region": Secret("x")}, "'region' of the fake storage is not a secret"),
        ({"bucket": ["b"]}, "'bucket' of the fake storage is a text, not a list"),
        ({"attemts": 5}, r"no option 'attemts' \(known: bucket, endpoint.*\); did you mean 'attempts'"),
        ({"zzz": 5}, r"no option 'zzz' \(known: bucket, .*secret_key\)$"),
        ({"ENVIRONMENT": {}}, "no option 'ENVIRONMENT'"),
        ({"attempts": 0}, "attempts is at least 1"),
    ],
)
def test_wrong_options_are_named(fake, options, message):
    with pytest.raises(ConfigError, match=message):
        open_storage("fake://b", options=options, environ={})


@pytest.mark.parametrize("query", ["attempts=x", "verify=maybe", "style=x", "hosts=a", "attempts=", "timeout=1s"])
def test_wrong_options_of_a_url_are_named(fake, query):
    with pytest.raises(ConfigError, match=f"'{query.partition('=')[0]}' of the fake storage is .*, not this text"):
        open_storage(f"fake://b?{query}", environ={})


def test_a_missing_option_is_named(fake):
    with pytest.raises(ConfigError, match="the fake storage needs the option 'bucket'"):
        open_storage("fake://", environ={})


def test_an_option_twice_in_a_url_is_refused(fake):
    with pytest.raises(ConfigError, match="'bucket' is given twice"):
        open_storage("fake://b?bucket=c", environ={})


def test_argument_beats_url_beats_profile_beats_environment(fake, profiles):
    environ = profiles('[one]\nurl = "fake://b?region=url"\nregion = "profile"\n', FAKE_REGION="environment")
    assert config_of(open_storage("one:", options={"region": "argument"}, environ=environ)).region == "argument"
    assert config_of(open_storage("one:", environ=environ)).region == "url"
    environ = profiles('[one]\nurl = "fake://b"\nregion = "profile"\n', FAKE_REGION="environment")
    assert config_of(open_storage("one:", environ=environ)).region == "profile"
    environ = profiles('[one]\nurl = "fake://b"\n', FAKE_REGION="environment")
    assert config_of(open_storage("one:", environ=environ)).region == "environment"
    assert config_of(open_storage("fake://b", environ={"FAKE_REGION": ""})).region is None


def test_the_environment_is_text_that_is_converted(fake):
    config = config_of(open_storage("fake://b", environ={"FAKE_ATTEMPTS": "7", "FAKE_VERIFY": "false"}))
    assert (config.attempts, config.verify) == (7, False)
    with pytest.raises(ConfigError, match="'attempts' of the fake storage is a whole number"):
        open_storage("fake://b", environ={"FAKE_ATTEMPTS": CANARY})


def test_a_secret_of_the_environment_stays_a_reference(fake, monkeypatch):
    monkeypatch.setenv("FAKE_SECRET", CANARY)
    storage = open_storage("fake://b")
    assert config_of(storage).secret_key == SecretRef(env="FAKE_SECRET")
    assert storage.connection_info().config == {"bucket": "b", "secret_key": {"env": "FAKE_SECRET"}}
    given = open_storage("fake://b", environ={"FAKE_SECRET": "given"})
    assert resolve_secret(config_of(given).secret_key).reveal() == "given"


def test_secrets_of_the_environment_go_to_no_host_that_only_a_url_names(fake):
    environ = {"FAKE_SECRET": CANARY}
    assert config_of(open_storage("fake://b?endpoint=http://evil", environ=environ)).secret_key is None
    named = {**environ, "FAKE_ENDPOINT": "http://mine"}
    assert config_of(open_storage("fake://b?endpoint=http://evil", environ=named)).secret_key is None
    assert config_of(open_storage("fake://b?endpoint=http://mine", environ=named)).secret_key is not None
    assert config_of(open_storage("fake://b", environ=named)).secret_key is not None
    assert config_of(open_storage("fake://b", options={"endpoint": "http://x"}, environ=environ)).secret_key is not None


def test_a_profile_may_name_the_host_for_the_secrets_of_the_environment(fake, profiles):
    environ = profiles('[one]\nurl = "fake://b?endpoint=http://mine"\n', FAKE_SECRET=CANARY)
    assert config_of(open_storage("one:", environ=environ)).secret_key is not None


# ---- profiles


def test_a_profile_with_layers_outermost_first(profiles):
    name = fresh()
    environ = profiles(
        f'[one]\nurl = "{name}/in"\n[[one.layers]]\nlayer = "readonly"\n'
        '[[one.layers]]\nlayer = "prefix"\nprefix = "mid/"\n'
    )
    open_storage(name).put("in/mid/sub/k", b"1")
    with open_storage("one:sub", environ=environ) as storage:
        assert storage.get("k") == b"1"
        with pytest.raises(PermissionDeniedError, match="read-only"):
            storage.put("k", b"2")
        assert storage.connection_info().config["layers"] == [
            {"layer": "prefix", "prefix": "sub/"},
            {"layer": "readonly"},
            {"layer": "prefix", "prefix": "mid/"},
            {"layer": "prefix", "prefix": "in/"},
        ]


def test_layers_of_the_argument_go_outside(profiles):
    environ = profiles(f'[one]\nurl = "{fresh()}"\n[[one.layers]]\nlayer = "readonly"\n')
    storage = open_storage("one:", layers=[{"layer": "prefix", "prefix": "x"}], environ=environ)
    assert storage.connection_info().config["layers"] == [{"layer": "prefix", "prefix": "x"}, {"layer": "readonly"}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('url = "memory://x"\nnam = "y"', "did you mean 'name'"),
        ('url = "nope://x"', "unknown scheme 'nope'"),
        ('url = "media:"', "names a profile"),
        ('url = "some/folder"', "starts with / or ~"),
        ('url = "memory://x"\n[[one.layers]]\nlayer = "nope"', "unknown layer 'nope'"),
        ('url = "memory://x"\n[[one.layers]]\nlayer = "prefix"', "the layer 'prefix' needs the option 'prefix'"),
        (
            'url = "memory://x"\n[[one.layers]]\nlayer = "prefix"\nprefix = 5',
            "'prefix' of the layer 'prefix' is a text",
        ),
    ],
)
def test_a_wrong_profile_is_named_with_its_file_and_line(profiles, text, message):
    environ = profiles(f"# mine\n[one]\n{text}\n")
    with pytest.raises(ConfigError, match=message) as caught:
        open_storage("one:", environ=environ)
    assert f"profile 'one' in {environ['MGS_CONFIG']}, line 2: " in str(caught.value)


def test_a_literal_secret_in_a_profile_is_taken_with_a_warning(fake, profiles):
    environ = profiles(f'[one]\nurl = "fake://b"\nsecret_key = "{CANARY}"\n')
    with pytest.warns(LiteralSecretWarning, match="profile 'one' in .* holds the secret 'secret_key' itself") as warned:
        storage = open_storage("one:", environ=environ)
    assert config_of(storage).secret_key.reveal() == CANARY
    assert CANARY not in str(warned[0].message)
    assert "chmod" not in str(warned[0].message)
    assert warned[0].filename == __file__
    Path(environ["MGS_CONFIG"]).chmod(0o640)
    with pytest.warns(LiteralSecretWarning, match="chmod 600"):
        open_storage("one:", environ=environ)


def test_a_reference_in_a_profile_is_taken_without(fake, profiles):
    environ = profiles('[one]\nurl = "fake://b"\nsecret_key = { env = "X" }\naccess_key = { file = "/y" }\n')
    config = config_of(open_storage("one:", environ=environ))
    assert (config.secret_key, config.access_key) == (SecretRef(env="X"), SecretRef(file="/y"))


def test_locating_a_target(profiles, tmp_path):
    environ = profiles('[one]\nurl = "memory://x"\n')
    assert locate("one:a/b", environ=environ) == ("one:", "a/b")
    assert locate("memory://x/a/b", environ=environ) == ("memory://x", "a/b")
    assert locate(f"{tmp_path}/new", environ=environ) == (str(tmp_path), "new")
    assert locate(str(tmp_path), environ={"MGS_CONFIG": "/nonexistent"}) == (str(tmp_path), "")
    with pytest.raises(ConfigError, match="no profile 'two'"):
        locate("two:a", environ=environ)


# ---- opening fails cleanly


def test_a_backend_is_closed_when_its_stack_cannot_be_built(fake, monkeypatch):
    opened: list[FakeBackend] = []
    monkeypatch.setattr(FakeBackend, "create", lambda self, **_: opened.append(self) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        open_storage("fake://b", create=True, environ={})
    assert opened[0].closed


def test_a_storage_owns_what_it_opened(fake):
    storage = open_storage("fake://b/p", environ={})
    inner = storage.backend.inner
    storage.close()
    assert inner.closed


def test_read_only_does_not_create(tmp_path):
    with pytest.raises(PermissionDeniedError):
        open_storage(tmp_path / "new", layers=["readonly"], create=True)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("layers", [[{}], [{"layer": 5}], [{"prefix": "x"}]])
def test_a_layer_without_a_name_is_refused(layers):
    with pytest.raises(ConfigError, match="a layer is its name"):
        open_storage(fresh(), layers=layers)


# ---- round trips


def reopened(storage, **more):
    return open_storage(ConnectionInfo.from_json(json.loads(json.dumps(storage.connection_info().to_json()))), **more)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"attempts": 5, "verify": False, "hosts": ["a"], "headers": {"x": "y"}, "style": "path", "timeout": 1.5},
        {"secret_key": {"env": "A"}, "access_key": {"file": "~/b"}},
        {"secret_key": SecretRef(env="A")},
    ],
)
def test_connection_info_round_trips_to_an_equal_value(fake, options):
    storage = open_storage("fake://b/p", options=options, layers=["readonly"], environ={})
    again = reopened(storage, environ={})
    assert again.connection_info() == storage.connection_info()
    assert hash(again.connection_info()) == hash(storage.connection_info())
    assert config_of_innermost(again) == config_of_innermost(storage)


def config_of_innermost(storage):
    backend = storage.backend
    while hasattr(backend, "inner"):
        backend = backend.inner
    return backend.config


def test_local_storages_round_trip(tmp_path):
    storage = open_storage(f"file://{tmp_path}?durability=none", layers=[{"layer": "prefix", "prefix": "a/"}])
    assert reopened(storage).connection_info() == storage.connection_info()
    storage.put("k", b"1")
    assert reopened(storage).get("k") == b"1"


def test_only_what_is_not_default_is_exported(fake):
    assert open_storage("fake://b", options={"attempts": 3}, environ={}).connection_info().config == {"bucket": "b"}


def test_a_literal_secret_is_not_exported_and_missed_by_name(fake):
    storage = open_storage("fake://b", options={"secret_key": CANARY}, environ={})
    assert storage.connection_info().config == {"bucket": "b", "secret_key": "***"}
    with pytest.raises(ConfigError, match="secret 'secret_key' of the fake storage was given literally"):
        reopened(storage, environ={})
    again = reopened(storage, options={"secret_key": "another"}, environ={})
    assert again.connection_info() == storage.connection_info()


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        "x",
        5,
        {},
        {"type": "x"},
        {"type": "x", "config": []},
        {"type": 1, "config": {}},
        {"type": "x", "config": {}, "y": 1},
    ],
)
def test_other_documents_are_refused(document):
    with pytest.raises(ConfigError, match="connection info is"):
        ConnectionInfo.from_json(document)


@pytest.mark.parametrize("layers", ["readonly", ["readonly"], {"layer": "readonly"}, [{"layer": 1}]])
def test_wrong_layers_of_connection_info_are_refused(layers):
    with pytest.raises(ConfigError, match="layer"):
        open_storage(ConnectionInfo("memory", {"name": "x", "layers": layers}))


# ---- pickles


def test_a_pickle_holds_references_and_refuses_literals(fake):
    stored = open_storage("fake://b/p", options={"secret_key": {"env": "A"}}, environ={})
    assert pickle.loads(pickle.dumps(stored)).connection_info() == stored.connection_info()
    literal = open_storage("fake://b/p", options={"secret_key": CANARY}, environ={})
    with pytest.raises(TypeError, match="pickle_secrets=True"):
        pickle.dumps(literal)
    allowed = open_storage("fake://b/p", options={"secret_key": CANARY}, pickle_secrets=True, environ={})
    assert config_of_innermost(pickle.loads(pickle.dumps(allowed))).secret_key.reveal() == CANARY


# ---- secrets


@pytest.mark.parametrize("value", [5, True, [], {}, {"env": ""}, {"env": 5}, {"x": "y"}, {"env": "A", "file": "b"}, ""])
def test_what_is_no_secret_is_named_and_not_shown(fake, value):
    with pytest.raises(ConfigError, match=r"the secret .secret_key. of the fake storage is \{ env"):
        open_storage("fake://b", options={"secret_key": value}, environ={})


@pytest.mark.parametrize("url", ["fake://b?secret_key=VALUE", "fake://b?secret_key=***"])
def test_a_url_carries_no_secret(fake, profiles, url):
    with pytest.raises(ConfigError, match=r"never carries credentials.*'secret_key'") as caught:
        open_storage(url.replace("VALUE", CANARY), environ={})
    assert CANARY not in str(caught.value)
    environ = profiles(f'[one]\nurl = "{url}"\n')
    with pytest.raises(ConfigError, match="never carries credentials"):
        open_storage("one:", environ=environ)


def shown_by(error: BaseException) -> str:
    return "".join(traceback.TracebackException.from_exception(error).format()) + repr(error)


def test_a_canary_in_every_secret_is_never_seen(fake, profiles, caplog):
    register_layer("noise", lambda inner, config: inner, NoiseConfig)
    secrets = {"access_key": CANARY, "secret_key": CANARY}
    layers = [{"layer": "noise", "key": CANARY}]
    seen: list[str] = []
    with caplog.at_level(logging.DEBUG), warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        storage = open_storage("fake://b/p", options=secrets, layers=layers, environ={})
        info = storage.connection_info()
        seen += [repr(storage), repr(config_of_innermost(storage)), str(config_of_innermost(storage))]
        seen += [repr(info), json.dumps(info.to_json()), storage.description, repr(storage.backend)]
        environ = profiles(
            f'[one]\nurl = "fake://b"\naccess_key = "{CANARY}"\nsecret_key = "{CANARY}"\n'
            f'[[one.layers]]\nlayer = "noise"\nkey = "{CANARY}"\n'
        )
        open_storage("one:", environ=environ)
        for options in ({"attempts": CANARY}, {"unknown": CANARY}, {"style": CANARY}, {"secret_key": [CANARY]}):
            with pytest.raises(ConfigError) as caught:
                open_storage("fake://b", options={**secrets, **options}, environ={})
            seen.append(shown_by(caught.value))
        with pytest.raises(ConfigError) as caught:
            open_storage("fake://b", layers=[{"layer": "noise", "key": CANARY, "level": CANARY}], environ={})
        seen.append(shown_by(caught.value))
        with pytest.raises(FileNotFoundError) as missing:
            storage.get("missing")
        seen.append(shown_by(missing.value))
    seen += [str(warning.message) for warning in warned]
    assert len(warned) == 2
    assert CANARY not in caplog.text + "".join(seen)
