"""The shop before a running pair, on this machine: for `hemline run` and `smoke`, and browser tests."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hemline.errors import DataError
from hemline.pair import Server

STOREFRONT = "storefront"


@dataclass(frozen=True)
class Page:
    """What the shop shows, and where."""

    web: Path  # the built front end
    port: int = 0
    images: Path | None = None  # a folder of H&M's pictures
    image_url: str | None = None  # or where browsers find them: a URL with {article_id}, {prefix}


class Storefront(Server):
    """The shop's server."""

    health = "/healthz"


def start(binaries: Path, transformer: str, page: Page, today: str, log: Path) -> Storefront:
    """Starts it before the transformer at this URL; `today` is the day (ISO) that it takes for today.

    Raises DataError where the front end is not built, or the program is not there.
    """
    if not (page.web / "index.html").is_file():
        raise DataError(f"{page.web}: has no index.html; build the front end: `make web`")
    pictures = [f"--images={page.images}"] if page.images else []
    pictures += [f"--image-url={page.image_url}"] if page.image_url else []
    arguments = [f"--transformer={transformer}", f"--web={page.web}", f"--today={today}"]
    port = f"--http-port={page.port}"
    return Storefront(STOREFRONT, binaries / STOREFRONT, [*arguments, port, *pictures], log)


@contextmanager
def storefront(binaries: Path, transformer: str, page: Page, today: str, logs: Path) -> Iterator[Storefront]:
    """It, ready, for as long as it is needed. Raises PairError where it does not start."""
    server = start(binaries, transformer, page, today, logs / f"{STOREFRONT}.log")
    try:
        server.wait_ready()
        yield server
    finally:
        server.stop()
