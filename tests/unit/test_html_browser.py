"""The HTML report in a real browser: it renders, nothing is loaded, nothing sticks out, clicks do what they say."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cnngen import pipeline
from cnngen.ir import Graph
from cnngen.report.html.page import html_report
from cnngen.resources import specs_folder
from tests.browser import chromium
from tests.graphs import EXAMPLES, residual
from tests.unit.test_html import EVIL, evil_graph

NETWORKS: dict[str, Callable[[], Graph]] = {
    "lenet": lambda: pipeline.load_graph(specs_folder() / "lenet.yaml"),
    "squeezenet": lambda: pipeline.load_graph(specs_folder() / "squeezenet.yaml"),
    "resnet50": lambda: pipeline.load_graph(specs_folder() / "resnet50.yaml"),
    "channels_first": EXAMPLES["channels_first"],
    "two_inputs": EXAMPLES["two_inputs"],
}
MEASURE = """() => ({
    overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    graph: document.querySelector("svg.graph").getBoundingClientRect().toJSON(),
    clipped: [...document.querySelectorAll("svg.graph g.box")].filter((box) => {
        const room = box.querySelector("rect").getBBox();
        const texts = [...box.querySelectorAll("text")].map((text) => text.getBBox());
        return texts.some((text) => text.x < room.x || text.x + text.width > room.x + room.width) ||
            texts[0].x + texts[0].width > texts[1].x;
    }).map((box) => box.textContent.trim()),
    shown: [...document.querySelectorAll("figure.field")].filter((f) => f.offsetHeight > 0).map((f) => f.id),
    requests: performance.getEntriesByType("resource").length,
})"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The page of a network as a file, written once."""
    folder = tmp_path_factory.mktemp("pages")

    def page(name: str) -> Path:
        path = folder / f"{name}.html"
        if not path.exists():
            graph = NETWORKS[name]()
            plan = pipeline.plan_for(graph, isa="avx2", threads=1, run_here=False)
            path.write_text(html_report(graph, plan), encoding="utf-8")
        return path

    return page


def opened(
    browser: Any, path: Path, *, width: int = 1280, scheme: str = "light", script: bool = True
) -> tuple[Any, list[str]]:
    """A tab with the page in it, and the list into which its complaints go."""
    tab = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, java_script_enabled=script
    ).new_page()
    complaints: list[str] = []
    tab.on("console", lambda message: complaints.append(message.text))
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.on("requestfailed", lambda request: complaints.append(request.url))
    tab.goto(path.as_uri())
    return tab, complaints


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 400)])
@pytest.mark.parametrize("name", NETWORKS)
def test_the_page_renders(
    browser: Any, written: Callable[[str], Path], tmp_path: Path, name: str, scheme: str, width: int
) -> None:
    tab, complaints = opened(browser, written(name), width=width, scheme=scheme)
    found = tab.evaluate(MEASURE)
    assert complaints == []
    assert found["requests"] == 0
    assert found["overflow"] == 0
    assert found["graph"]["width"] > 100
    assert found["graph"]["height"] > 100
    assert found["clipped"] == []
    assert len(found["shown"]) == 1
    for text in ("Graph", "Layers", "Receptive fields", "Memory"):
        assert tab.get_by_role("heading", name=text, exact=True).is_visible()
    assert colours(tab.screenshot(path=tmp_path / "page.png"), tmp_path / "page.png") > 8
    tab.context.close()


def colours(_: bytes, path: Path) -> int:
    """How many different colours a screenshot has: a blank page has one."""
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    with image.open(path) as picture:
        return len(picture.convert("RGB").getcolors(1 << 24))


def test_dark_is_dark_and_light_is_light(browser: Any, written: Callable[[str], Path]) -> None:
    paper = {}
    for scheme in ("light", "dark"):
        tab, _ = opened(browser, written("lenet"), scheme=scheme)
        text = tab.evaluate("getComputedStyle(document.body).backgroundColor")
        paper[scheme] = sum(int(part) for part in text.removeprefix("rgb(").removesuffix(")").split(","))
        tab.context.close()
    assert paper["dark"] < 150 < 600 < paper["light"]


def test_a_click_on_a_row_shows_its_field(browser: Any, written: Callable[[str], Path]) -> None:
    tab, complaints = opened(browser, written("lenet"))
    row = tab.locator("tr[data-name=max_pool_1]")
    row.locator("td").first.click()
    assert tab.evaluate(MEASURE)["shown"] == [row.get_attribute("data-figure")]
    figure = tab.locator("figure.field:target")
    assert "max_pool_1" in figure.inner_text()
    assert "6 /2" in figure.inner_text()
    assert "selected" in row.get_attribute("class")
    figure.get_by_text("layers behind").click()
    assert "14 /2" in tab.locator("figure.field:target").inner_text()
    assert complaints == []
    tab.context.close()


@pytest.mark.parametrize("script", [True, False])
def test_boxes_lead_to_rows_and_blocks_with_and_without_script(
    browser: Any, written: Callable[[str], Path], script: bool
) -> None:
    tab, _ = opened(browser, written("resnet50"), script=script)
    overview = tab.locator("svg.graph").first
    overview.locator("a", has_text="conv3").click()
    inside = tab.locator("details", has_text="Inside conv3").first
    assert inside.locator("svg").first.is_visible()
    overview.locator("a", has_text="max_pool_1").click()
    target = tab.locator("tr:target")
    assert "max_pool_1" in target.inner_text()
    assert target.is_visible()
    tab.context.close()


def test_without_script_links_choose_the_field(browser: Any, written: Callable[[str], Path]) -> None:
    tab, _ = opened(browser, written("lenet"), script=False)
    tab.get_by_role("link", name="max_pool_1", exact=True).last.click()
    assert tab.locator("figure.field:visible").count() == 1
    assert "6 /2" in tab.locator("figure.field:visible").inner_text()
    tab.context.close()


def test_it_prints_on_paper_without_what_is_for_the_screen(browser: Any, written: Callable[[str], Path]) -> None:
    tab, _ = opened(browser, written("lenet"), scheme="dark", width=700)
    tab.emulate_media(media="print")
    found = tab.evaluate(MEASURE)
    assert found["overflow"] == 0
    assert not tab.locator("nav").is_visible()
    assert tab.locator("figure.field:visible").count() == 1
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert len(tab.pdf()) > 10_000
    tab.context.close()


def test_a_name_that_is_markup_is_shown_as_text(browser: Any, tmp_path: Path) -> None:
    graph = evil_graph()
    path = tmp_path / "evil.html"
    path.write_text(
        html_report(graph, pipeline.plan_for(graph, isa="avx2", threads=1, run_here=False)), encoding="utf-8"
    )
    tab, complaints = opened(browser, path)
    assert complaints == []
    assert tab.evaluate("window.broken === undefined")
    assert tab.locator("b", has_text=re.compile("^bold$")).count() == 0
    assert EVIL in tab.locator("#layer-table").inner_text()
    tab.context.close()


def test_the_witness_sees_what_is_wrong(browser: Any, tmp_path: Path) -> None:
    """The checks above can fail: a page with an error, with an overflow, and with a request."""
    graph = residual()
    page = html_report(graph, pipeline.plan_for(graph, isa="avx2", threads=1, run_here=False))
    path = tmp_path / "broken.html"
    wrong = '<main><div style="width: 3000px">wide</div><script>window.broken = 1</script>'
    path.write_text(page.replace("<main>", wrong), "utf-8")
    tab, complaints = opened(browser, path)
    assert "Content Security Policy" in complaints[0]
    assert tab.evaluate("window.broken === undefined")
    assert tab.evaluate(MEASURE)["overflow"] > 1000
    tab.context.close()
