"""What is in the images that `make images` wrote, read from their tars: no engine is needed."""

import io
import json
import tarfile
from dataclasses import dataclass
from pathlib import Path

import pytest

TARS = Path(__file__).parents[1] / "dist" / "images"
MOST_BYTES = 60_000_000
COMPONENTS = ("transformer", "predictor-gbdt", "predictor-llm", "storefront")
PORTS = {"storefront": {"8090/tcp"}}
PAGE = "usr/share/hemline/web/index.html"
RUNTIME = "usr/lib/libonnxruntime.so"


@dataclass(frozen=True)
class Image:
    """A docker-archive: its configuration, and its layers' files with their sizes, the base's first."""

    config: dict
    layers: list[dict[str, tarfile.TarInfo]]

    @property
    def files(self) -> dict[str, tarfile.TarInfo]:
        """All files."""
        return {name: file for layer in self.layers for name, file in layer.items()}


def read(path: Path) -> Image:
    """Reads a tar."""
    with tarfile.open(path) as archive:
        (manifest,) = json.load(archive.extractfile("manifest.json"))
        config = json.load(archive.extractfile(manifest["Config"]))
        layers = []
        for name in manifest["Layers"]:
            content = archive.extractfile(name)
            with tarfile.open(fileobj=io.BytesIO(content.read())) as layer:
                layers.append({file.name.removeprefix("./"): file for file in layer if file.isfile()})
    return Image(config["config"], layers)


@pytest.fixture(params=COMPONENTS)
def component(request) -> str:
    """Each of them."""
    return request.param


@pytest.fixture
def image(component) -> Image:
    """Its image."""
    path = TARS / f"hemline-{component}.tar"
    if not path.is_file():
        pytest.fail(f"{path}: run `make images` first")
    return read(path)


def test_it_starts_its_binary_as_nobody_and_says_what_it_is(image, component):
    assert image.config["User"] == "65532:65532"
    assert image.config["Entrypoint"] == [f"/usr/bin/{component}"]
    assert set(image.config["ExposedPorts"]) == PORTS.get(component, {"8080/tcp", "8081/tcp"})
    labels = image.config["Labels"]
    assert labels["org.opencontainers.image.title"] == f"hemline-{component}"
    assert all(labels[f"org.opencontainers.image.{name}"] for name in ("description", "version", "revision"))


def test_it_is_small(image):
    assert sum(file.size for file in image.files.values()) < MOST_BYTES


def test_it_has_no_shell_and_no_other_binary_of_ours(image, component):
    names = {Path(name).name for name in image.files}
    assert not names & {"sh", "bash", "dash", "busybox", "apt", "dpkg"}
    assert names & set(COMPONENTS) == {component}


def test_onnx_runtime_is_where_it_is_needed(image, component):
    needs_it = component in ("transformer", "predictor-gbdt")
    assert (RUNTIME in image.files) is needs_it
    assert (f"ORT_DYLIB_PATH=/{RUNTIME}" in (image.config.get("Env") or [])) is needs_it


def test_the_page_is_where_the_shop_looks_for_it(image, component):
    assert (PAGE in image.files) is (component == "storefront")


def test_nobody_needs_more_rights_than_to_read(image, component):
    binary = image.files[f"usr/bin/{component}"]
    assert binary.mode & 0o005 == 0o005
    assert not any(file.mode & 0o6000 for file in image.files.values()), "nothing is run as somebody else"


def test_what_it_was_built_of_is_written_into_it(component):
    tar = TARS / f"hemline-{component}.tar"
    with tarfile.open(tar) as archive:
        (manifest,) = json.load(archive.extractfile("manifest.json"))
        for name in manifest["Layers"]:
            with tarfile.open(fileobj=io.BytesIO(archive.extractfile(name).read())) as layer:
                for file in layer:
                    if file.name.removeprefix("./") == f"usr/bin/{component}":
                        # The section that `cargo auditable` adds.
                        assert b".dep-v0" in layer.extractfile(file).read()
                        return
    pytest.fail("no binary")
