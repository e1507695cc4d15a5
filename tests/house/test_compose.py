"""What can be said of images and stack without an engine: syntax, references, the reference's security list."""

import re
from pathlib import Path

import pytest
import yaml

from lab.simulators.vendors.registry import VENDORS

ROOT = Path(__file__).parents[2]
COMPOSE = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
STACK = yaml.safe_load(COMPOSE)
SERVICES = STACK["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
PINNED = re.compile(r"^[a-z0-9./-]+:v?\d+\.\d+\.\d+[a-z0-9.-]*$")
CONDITIONS = {"service_started", "service_healthy", "service_completed_successfully"}

each_service = pytest.mark.parametrize("name", sorted(SERVICES))


def instructions():
    joined = re.sub(r"\\\n", " ", "\n".join(line for line in DOCKERFILE.splitlines() if not line.startswith("#")))
    return [tuple(line.split(maxsplit=1)) for line in joined.splitlines() if line.strip()]


def stages():
    """The instructions of each stage, by its name, without its FROM; and what each is made from."""
    found, made_from = {}, {}
    for word, rest in instructions():
        if word == "FROM":
            base, _, name = rest.partition(" AS ")
            found[name], made_from[name] = [], base
        else:
            found[name].append((word, rest))
    return found, made_from


def stage(name):
    """The instructions of a stage and of those that it is made from, in order."""
    found, made_from = stages()
    return [*(stage(made_from[name]) if made_from[name] in found else []), *found[name]]


def test_the_stack_has_every_part():
    assert set(SERVICES) >= {
        "kafka",
        "topics",
        "worker",
        "connectors",
        "prometheus",
        "grafana",
        "simulator",
        "demo-feed",
    }
    demo = {name for name, service in SERVICES.items() if service.get("profiles") == ["demo"]}
    assert demo == {"demo-files", "simulator", "demo-doctor", "demo-feed", *VENDORS}


@pytest.mark.parametrize("name", sorted(VENDORS))
def test_a_vendor_is_where_the_files_and_the_feed_of_the_demo_say(name):
    assert SERVICES[name]["entrypoint"][-1] == name
    port = next(word for word in SERVICES[name]["command"] if word.startswith("--port=")).removeprefix("--port=")
    for other in ("demo-files", "demo-feed"):
        assert f"--vendor={name}=http://{name}:{port}" in SERVICES[other]["command"]


def test_webhooks_of_the_demo_find_the_door():
    port = SERVICES["connectors"]["environment"]["STREAMS__WEBHOOKS__PORT"]
    assert f"--door=http://connectors:{port}" in SERVICES["demo-feed"]["command"]


@each_service
def test_a_service_can_do_no_more_than_it_must(name):
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["pids_limit"] > 0
    assert any(mount.split(":")[0] == "/tmp" for mount in service["tmpfs"])
    assert not {"privileged", "cap_add", "network_mode", "pid", "ipc", "userns_mode", "devices", "user"} & set(service)
    assert all("docker.sock" not in str(volume) for volume in service.get("volumes", ()))


@each_service
def test_an_image_is_pinned_by_version(name):
    assert PINNED.match(SERVICES[name]["image"]), SERVICES[name]["image"]


@each_service
def test_what_stays_up_says_whether_it_is_well(name):
    service = SERVICES[name]
    if service["restart"] == "no":
        return
    assert service["restart"] == "unless-stopped"
    assert service["healthcheck"]["test"][0] == "CMD"  # no shell
    assert {"interval", "timeout", "retries"} <= set(service["healthcheck"])


@each_service
def test_dependencies_exist_and_a_demo_part_is_never_required_outside_the_demo(name):
    service = SERVICES[name]
    for other, how in service.get("depends_on", {}).items():
        assert other in SERVICES
        assert how["condition"] in CONDITIONS
        assert how["condition"] != "service_healthy" or "healthcheck" in SERVICES[other]
        assert how["condition"] != "service_completed_successfully" or SERVICES[other]["restart"] == "no"
        if "profiles" in SERVICES[other] and "profiles" not in service:
            assert how["required"] is False


def test_dependencies_have_an_order():
    done = set()
    while len(done) < len(SERVICES):
        ready = {name for name, one in SERVICES.items() if name not in done and set(one.get("depends_on", {})) <= done}
        assert ready, f"a circle among {set(SERVICES) - done}"
        done |= ready


@each_service
def test_ports_are_published_on_loopback_only(name):
    ports = SERVICES[name].get("ports", [])
    assert all(port.startswith("127.0.0.1:") for port in ports)
    assert not ports or name in {"prometheus", "grafana"}


@each_service
def test_volumes_and_secrets_are_declared_and_host_folders_are_there_and_read_only(name):
    service = SERVICES[name]
    assert set(service.get("secrets", ())) <= set(STACK["secrets"])
    for volume in service.get("volumes", ()):
        source, _, rest = re.sub(r"\$\{\w+:-(\w+)\}", r"\1", volume).partition(":")
        if source.startswith("."):
            assert rest.endswith(":ro")
            assert (ROOT / source).is_dir()
        else:
            assert source in STACK["volumes"]


def test_every_password_comes_from_a_file_and_nothing_starts_without_it():
    for name, secret in STACK["secrets"].items():
        assert re.fullmatch(r"\$\{\w+_FILE:\?.+\}", secret["file"]), name
    for service in SERVICES.values():
        for key, value in service.get("environment", {}).items():
            if re.search("PASSWORD|SECRET|TOKEN|KEY", key):
                assert key.endswith("__FILE")
                assert value.startswith("/run/secrets/")
                assert value.removeprefix("/run/secrets/") in service["secrets"]


def test_grafana_lets_nobody_in_without_the_password():
    settings = SERVICES["grafana"]["environment"]
    assert settings["GF_SECURITY_ADMIN_PASSWORD__FILE"] == "/run/secrets/grafana_password"
    assert settings["GF_USERS_ALLOW_SIGN_UP"] == "false"
    assert settings["GF_AUTH_ANONYMOUS_ENABLED"] == "false"


def test_one_image_serves_every_part_of_ours_and_another_one_the_demo():
    images = {name: (one["image"].partition(":")[0], one["build"]) for name, one in SERVICES.items() if "build" in one}
    lab = {"demo-files", "demo-feed", "simulator", *VENDORS}
    for name, found in images.items():
        image, target = ("b1-streams-demo", "demo") if name in lab else ("b1-streams", "production")
        assert found == (image, {"context": ".", "target": target}), name
    assert images.keys() == {"topics", "worker", "connectors", "demo-doctor"} | lab
    # What a service runs of the lab is in the image that has it.
    for name, service in SERVICES.items():
        if any("lab." in word for word in service.get("entrypoint", [])):
            assert name in lab


def test_the_drain_fits_into_the_time_to_stop():
    assert all(int(SERVICES[name]["stop_grace_period"].removesuffix("s")) > 30 for name in ("worker", "connectors"))


def test_the_image_is_built_in_stages_from_pinned_bases():
    found, made_from = stages()
    bases = [base for base in made_from.values() if base not in found]
    assert len(bases) == 2
    assert all(PINNED.match(base) and "-slim" in base for base in bases)


def test_what_is_built_without_a_target_is_production_and_has_no_lab():
    found, _ = stages()
    assert list(found)[-1] == "production"
    assert not any("lab" in rest for word, rest in stage("production") if word == "COPY")
    assert not any("lab" in rest for word, rest in stage("build") if word == "COPY")
    assert ("COPY", "lab /opt/lab/lab") in stage("demo")


@pytest.mark.parametrize("name", ["production", "demo"])
def test_the_image_runs_as_a_user_without_rights(name):
    users = [rest for word, rest in stage(name) if word == "USER"]
    assert users
    assert all(re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", user) for user in users)
    last = max(n for n, (word, _) in enumerate(stage(name)) if word == "USER")
    assert all(word != "RUN" for word, _ in stage(name)[last:])


def test_packages_are_what_the_locks_name():
    """Wheels, and the one sdist whose code has no wheel on arm64.

    Built by locked tools, not by what pip would fetch.
    """
    runs = " ".join(" ".join(rest.split()) for word, rest in instructions() if word == "RUN")
    installs = re.findall(r"/pip install (.*?)(?= &&| /opt|$)", runs)
    assert installs == [
        "--require-hashes --only-binary :all: -r requirements-build.lock",
        "--require-hashes --only-binary :all: --no-binary faust-streaming --no-build-isolation -r requirements.lock",
        "--no-deps --no-build-isolation .",
    ]
    for name in ("production", "demo"):
        assert all("pip install" not in rest and "apt-get" not in rest for word, rest in stage(name) if word == "RUN")
    for lock in ("requirements-build.lock", "requirements.lock"):
        blocks = re.split(r"\n(?=\S)", (ROOT / lock).read_text(encoding="utf-8").strip())
        assert all("--hash=sha256:" in block for block in blocks)


def test_what_only_the_build_needs_is_taken_out_again():
    built = {
        line.split("==")[0]
        for line in (ROOT / "requirements-build.lock").read_text("utf-8").splitlines()
        if "==" in line
    }
    kept = {
        line.split("==")[0] for line in (ROOT / "requirements.lock").read_text("utf-8").splitlines() if "==" in line
    }
    (removed,) = re.findall(r"pip uninstall --yes ([a-z -]+)$", "\n".join(rest for _, rest in stage("build")), re.M)
    assert set(removed.split()) == built - kept | {"pip"}


def test_the_image_holds_no_secret_and_starts_without_a_shell():
    words = {word for word, _ in instructions()}
    assert not words & {"ADD", "ARG"}
    assert not re.search(r"(?i)password|secret|token", DOCKERFILE)
    assert all(rest.startswith("[") for word, rest in stage("demo") if word in ("CMD", "ENTRYPOINT"))


def test_only_what_the_image_is_made_of_reaches_the_builder():
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert next(line for line in lines if line and not line.startswith("#")) == "*"
    let_in = {line[1:] for line in lines if line.startswith("!")}
    copied = {
        part for word, rest in instructions() if word == "COPY" and "--from" not in rest for part in rest.split()[:-1]
    }
    assert copied == let_in
    assert all((ROOT / part).exists() for part in copied)


def test_prometheus_scrapes_the_parts_that_have_metrics():
    config = yaml.safe_load((ROOT / "grafana/prometheus/prometheus.yml").read_text(encoding="utf-8"))
    jobs = {job["job_name"]: job for job in config["scrape_configs"]}
    for name in ("worker", "connectors"):
        (found,) = jobs[name]["dns_sd_configs"]
        assert found["names"] == [name]
        assert found["port"] == int(SERVICES[name]["environment"]["STREAMS__METRICS__PORT"])
        assert name in SERVICES


def test_grafana_finds_its_data_source_and_its_dashboards():
    folder = ROOT / "grafana/provisioning"
    (source,) = yaml.safe_load((folder / "datasources/prometheus.yml").read_text(encoding="utf-8"))["datasources"]
    assert source["uid"] == "prometheus"
    assert source["url"] == "http://prometheus:9090"
    (provider,) = yaml.safe_load((folder / "dashboards/b1-streams.yml").read_text(encoding="utf-8"))["providers"]
    mounted = [volume.split(":")[1] for volume in SERVICES["grafana"]["volumes"]]
    assert provider["options"]["path"] in mounted
    assert provider["allowUiUpdates"] is False


@pytest.mark.parametrize(
    "name", ["docker-compose.yml", *(str(p.relative_to(ROOT)) for p in sorted((ROOT / "grafana").rglob("*.yml")))]
)
def test_no_key_is_written_twice(name):
    class Loader(yaml.SafeLoader):
        pass

    def mapping(loader, node):
        keys = [key.value for key, _ in node.value if key.value != "<<"]
        assert len(keys) == len(set(keys)), (name, node.start_mark.line + 1, keys)
        loader.flatten_mapping(node)
        return loader.construct_mapping(node, deep=True)

    Loader.add_constructor("tag:yaml.org,2002:map", mapping)
    yaml.load((ROOT / name).read_text(encoding="utf-8"), Loader)
