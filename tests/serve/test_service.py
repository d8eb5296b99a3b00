"""Health and metrics, and what is built on them in ``deploy``."""

from __future__ import annotations

import configparser
import json
import re
import threading
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from mediagit_storage import errors
from mediagit_storage.backends.memory import MemoryBackend
from mediagit_storage.layers.migrating import MigratingLayer
from mediagit_storage.layers.mirror import MirrorConfig, MirrorLayer
from mediagit_storage.layers.observe import ObserveConfig, ObserveLayer
from mediagit_storage.secrets import Secret
from mediagit_storage.serve.health import members_of
from mediagit_storage.storage import Storage
from mediagit_storage.testing.wrappers import CallLog

from .gateways import BEARER, TOKEN, Served, wait_for

DEPLOY = Path(__file__).parents[2] / "deploy"
#: A name of a metric as the files in ``deploy`` use it.
NAME = re.compile(r"\b(?:mediagit|process|python)_[a-z_]+\b")


class _Sick:
    """Fails what is named with an error, or hangs, until it is well."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.well = threading.Event()
        self.well.set()

    def __call__(self, name: str) -> None:
        self.well.wait(60)
        if self.error is not None:
            raise self.error


@pytest.fixture
def sick() -> _Sick:
    return _Sick()


def _backends(served: Served) -> dict[str, bool]:
    return {each["name"]: each["up"] for each in json.loads(served.get("/readyz").body)["backends"]}


def test_alive_and_ready(serve, memory) -> None:
    served = serve(memory)
    for path in ("/healthz", "/-/healthz"):
        assert served.get(path)[::2] == (200, b"ok\n")
    for path in ("/readyz", "/-/readyz"):
        answer = served.get(path)
        assert (answer.status, json.loads(answer.body)["ready"]) == (200, True)
        assert answer.headers["cache-control"] == "no-store"
    assert _backends(served) == {memory.description: True}
    assert served.ask("HEAD", "/healthz").status == 200


def test_objects_of_these_names_can_have_the_root(serve, memory) -> None:
    memory.put("metrics", b"mine")
    assert serve(memory).get("/-/o/metrics").body == b"mine"
    served = serve(memory, root_routes=False)
    assert served.get("/metrics").body == b"mine"
    assert served.get("/healthz").status == 404
    assert served.get("/-/metrics").status == 200
    assert served.get("/-/healthz").status == 200


@pytest.mark.parametrize(
    "error",
    [
        errors.ConnectionLostError("no route"),
        errors.BucketNotFoundError("no bucket"),
        errors.UnauthenticatedError("expired"),
        errors.PermissionDeniedError("no"),
        RuntimeError("a bug"),
    ],
)
def test_a_dead_backend(serve, sick: _Sick, error: Exception) -> None:
    with Storage(CallLog(MemoryBackend(), sick)) as storage:
        served = serve(storage, probe_age=0)
        assert served.get("/readyz").status == 200
        sick.error = error
        answer = served.get("/readyz")
        assert answer.status == 503
        assert served.get("/healthz").status == 200
        found = json.loads(answer.body)
        assert (found["ready"], found["backends"][0]["up"]) == (False, False)
        assert found["backends"][0]["detail"]
        assert b"mediagit_gateway_backend_up" in served.get("/metrics").body
        sick.error = None
        assert served.get("/readyz").status == 200


def test_what_a_backend_says_is_not_for_everybody(serve) -> None:
    def refuse(_name: str) -> None:
        raise errors.ConnectionLostError("no route to the secret host")

    with Storage(CallLog(MemoryBackend(), refuse)) as storage:
        served = serve(storage, public=True, token=Secret(TOKEN))
        assert b"secret" not in served.get("/readyz").body
        assert b"secret" in served.ask("GET", "/readyz", BEARER).body


def test_every_wrong_token_is_counted(serve, memory) -> None:
    served = serve(memory, reads="token", token=Secret(TOKEN), console=True)
    wrong = {"Authorization": "Bearer wrong"}
    for method, path in (("GET", "/a"), ("GET", "/metrics"), ("GET", "/-/browse/"), ("POST", "/-/api/token")):
        served.ask(method, path, wrong)
    shown = served.ask("GET", "/metrics", BEARER).body
    assert b'mediagit_gateway_refused_total{reason="token"} 4.0' in shown


def test_who_may_only_read_is_ready_all_the_same(serve) -> None:
    def refuse(name: str) -> None:
        if name == "stat":
            raise errors.PermissionDeniedError("who may not list is told no of what is absent")

    with Storage(CallLog(MemoryBackend(), refuse)) as storage:
        assert serve(storage).get("/readyz").status == 200


def test_a_backend_that_hangs_holds_up_nobody(serve, sick: _Sick, monkeypatch) -> None:
    monkeypatch.setattr("mediagit_storage.serve.health._GRACE", 0.0)
    with Storage(CallLog(MemoryBackend(), sick)) as storage:
        served = serve(storage, probe_timeout=0.1, probe_age=0)
        sick.well.clear()
        for _ in range(3):
            answer = served.get("/readyz")
            assert (answer.status, json.loads(answer.body)["backends"][0]["detail"]) == (503, "hangs")
        assert served.get("/healthz").status == 200
        sick.well.set()
        while served.get("/readyz").status != 200:
            pass


def test_probes_do_not_storm(serve) -> None:
    log = CallLog(MemoryBackend())
    with Storage(log) as storage:
        served = serve(storage, probe_age=3600)
        threads = [threading.Thread(target=served.get, args=("/readyz",)) for _ in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert log.calls == ["stat"]


def test_every_backend_of_a_stack_is_probed(serve, sick: _Sick) -> None:
    old, primary = MemoryBackend(), MemoryBackend()
    replica = CallLog(MemoryBackend(), sick)
    mirror = MirrorLayer(primary, [replica], MirrorConfig())
    with Storage(MigratingLayer(mirror, old)) as storage:
        members = [*members_of(storage.backend)]
        assert [(each.backend, each.needed) for each in members[::2]] == [(old, True), (primary, True)]
        assert not members[1].needed
        served = serve(storage, probe_age=0)
        sick.error = errors.ConnectionLostError("gone")
        answer = served.get("/readyz")
        assert answer.status == 200
        assert [each["up"] for each in json.loads(answer.body)["backends"]] == [True, False, True]


def test_what_is_counted(serve, memory) -> None:
    memory.put("a", b"12345")
    served = serve(memory)
    for path in ("/a", "/a", "/none", "/%00", "/healthz"):
        served.get(path)
    count = served.gateway.context.metrics
    wait_for(lambda: count().requests == 5)
    found = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(served.get("/metrics").body.decode())
        for sample in family.samples
    }
    requests = "mediagit_gateway_requests_total"
    assert found[requests, ("method", "GET"), ("route", "objects"), ("status", "2xx")] == 2
    assert found[requests, ("method", "GET"), ("route", "objects"), ("status", "4xx")] == 2
    assert found[requests, ("method", "GET"), ("route", "service"), ("status", "2xx")] == 1
    assert found["mediagit_gateway_requests_in_flight",] == 1
    assert found["mediagit_gateway_sent_bytes_total",] == 5 + 5 + len("not found\n") + len("ok\n") + len(
        "a key has no control characters\n"
    )
    store = ("store", memory.description)
    assert found["mediagit_storage_operations_total", ("operation", "stream"), ("outcome", "ok"), store] == 2
    wait_for(lambda: count().requests == 6)
    assert count().statuses == {"2xx": 4, "4xx": 2}
    assert served.ask("MOVE", "/a").status == 405
    assert b'method="MOVE"' not in served.get("/metrics").body


def test_a_storage_that_counts_already_is_not_counted_twice(serve) -> None:
    with Storage(ObserveLayer(MemoryBackend(), config=ObserveConfig(metrics=True))) as storage:
        assert serve(storage).gateway.context.storage is storage


# ---- deploy


@pytest.fixture(scope="module")
def exported(full: Served) -> set[str]:
    full.storage.put("a", b"x")
    full.get("/a")
    full.get("/readyz")
    text = full.get("/metrics").body.decode()
    names = {sample.name for family in text_string_to_metric_families(text) for sample in family.samples}
    families = set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE))
    return names | families


@pytest.mark.parametrize("name", ["grafana-dashboard.json", "alerts.yml"])
def test_every_metric_that_deploy_names_exists(exported: set[str], name: str) -> None:
    used = set(NAME.findall((DEPLOY / name).read_text()))
    own = {each for each in used if each.startswith("mediagit_")}
    assert own
    assert own <= exported


def test_the_dashboard_is_whole() -> None:
    document = json.loads((DEPLOY / "grafana-dashboard.json").read_text())
    panels = document["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) > 5
    places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}
    assert len(places) == len(panels)
    for panel in panels:
        for target in panel["targets"]:
            assert target["expr"].count("(") == target["expr"].count(")")


def test_every_alert_says_what_it_is_about() -> None:
    text = (DEPLOY / "alerts.yml").read_text()
    alerts = re.split(r"(?m)^ +- alert: ", text)[1:]
    assert len(alerts) > 5
    for alert in alerts:
        for field in ("expr:", "for:", "severity:", "summary:", "description:"):
            assert alert.count(field) == 1, alert


def test_the_unit_starts_a_command_that_there_is() -> None:
    from mediagit_storage.cli.serve import command

    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str
    unit.read_string((DEPLOY / "mgs-serve.service").read_text())
    words = unit["Service"]["ExecStart"].split()
    assert words[:2] == ["/usr/local/bin/mgs", "serve"]
    context = command.make_context("serve", [each.replace("%S", "/var/lib") for each in words[2:]])
    assert context.params["port"] == 8080
    assert unit["Service"]["NoNewPrivileges"] == "yes"


def test_a_probe_stays_where_the_objects_are(serve) -> None:
    log = CallLog(MemoryBackend())
    asked: list[str] = []
    log.inner.stat = lambda key, version=None: asked.append(key) or MemoryBackend().stat(key)
    with Storage(log) as storage:
        served = serve(storage.with_prefix("a/").with_prefix("b/"))
        assert served.get("/readyz").status == 200
    assert [key.startswith("a/b/mgs-ready-") for key in asked] == [True]
