"""The exploring notebook as a reader has it: JupyterLab in a browser, with and without a running kernel."""

import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import replace

import nbformat
import pytest
from conftest import ROOT
from test_explore import NOTEBOOK, shown, toy_store

from reproduction.findings import explore
from reproduction.findings.figures import LANGUAGE_COLOURS
from reproduction.run import HYBRID, UNTRAINED, XX, XY

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (pip install playwright)")
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome on the path")
SECONDS = 45


@pytest.fixture(scope="module")
def store(tmp_path_factory, tiny_encoder):
    return toy_store(tmp_path_factory.mktemp("preset"), tiny_encoder)


@pytest.fixture(scope="module")
def address(tmp_path_factory, store):
    """Address of the notebook, copied and set to the toy preset, in a JupyterLab without anybody's settings."""
    folder = tmp_path_factory.mktemp("lab")
    notebook = nbformat.read(NOTEBOOK, 4)
    parameters = next(cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", []))
    parameters.source += f"\npreset_name = {store.preset.name!r}"
    (folder / "notebooks").mkdir()
    nbformat.write(notebook, folder / "notebooks" / NOTEBOOK.name)
    # No question about news over the page, and every cell in the page though it is out of sight.
    settings = folder / "config" / "lab" / "user-settings" / "@jupyterlab" / "notebook-extension"
    settings.mkdir(parents=True)
    (settings / "tracker.jupyterlab-settings").write_text(json.dumps({"windowingMode": "none"}))
    (folder / "config" / "labconfig").mkdir()
    (folder / "config" / "labconfig" / "page_config.json").write_text(
        json.dumps({"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}}))

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    token = secrets.token_hex(16)
    places = {"JUPYTER_CONFIG_DIR": "config", "JUPYTER_DATA_DIR": "data", "JUPYTER_RUNTIME_DIR": "runtime",
              "IPYTHONDIR": "ipython"}
    environment = os.environ | {name: str(folder / place) for name, place in places.items()} | {
        "JUPYTER_TOKEN": token, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1",
               f"--ServerApp.port={port}", "--ServerApp.port_retries=0",
               f"--ServerApp.root_dir={folder / 'notebooks'}",
               "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
               "--LabApp.expose_app_in_browser=True"]
    with open(folder / "log", "w+") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
        try:
            started = time.monotonic()
            while not answers(f"http://127.0.0.1:{port}/api?token={token}"):
                log.seek(0)
                assert server.poll() is None and time.monotonic() < started + SECONDS, log.read()
                time.sleep(0.2)
            yield f"http://127.0.0.1:{port}/doc/tree/{NOTEBOOK.name}?token={token}"
        finally:
            server.terminate()
            server.wait(SECONDS)


def answers(url):
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except (urllib.error.URLError, ConnectionError):
        return False


@pytest.fixture
def page(address):
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 1000})
        page.set_default_timeout(SECONDS * 1000)
        playwright.expect.set_options(timeout=SECONDS * 1000)
        page.goto(address)
        yield page
        browser.close()


def cells_of(lists):
    """The text of every cell that the page should show for two ranked lists, row by row."""
    left, right = map(shown, lists.values())
    return [text for number, pair in enumerate(zip(left, right, strict=True), 1)
            for text in (str(number), *pair[0], *pair[1])]


def assert_is_coloured_and_directed(cells, count):
    """Sentences in Arabic run from the right, others from the left; codes stand on their language's colour."""
    found = cells.evaluate_all("""cells => cells.map(e => [e.textContent.slice(0, 2), e.lang,
        getComputedStyle(e).direction, getComputedStyle(e).textAlign, getComputedStyle(e).backgroundColor])""")
    assert len(found) == 5 * count
    for code, sentence in ((found[i], found[i + 1]) for n in range(count) for i in (5 * n + 1, 5 * n + 3)):
        rgb = [int(x) for x in re.findall(r"\d+", code[4])]
        assert rgb == [round(255 * x) for x in LANGUAGE_COLOURS[code[0]]]
        assert sentence[1] == code[0] and sentence[2:4] == (["rtl", "right"] if code[0] == "ar" else ["ltr", "left"])


def test_a_question_is_asked_in_the_browser(page, store):
    explorer = explore.Explorer.of_store(store)
    # Before any kernel: the two comparisons that are stored in the file.
    stored = page.locator(".jp-RenderedHTMLCommon:has-text('parallel answers') tbody td")
    playwright.expect(stored).to_have_count(2 * 5 * explore.TOP)
    assert_is_coloured_and_directed(stored, 2 * explore.TOP)

    # Cells that are run before the kernel has answered are dropped; the page calls itself idle even then.
    page.wait_for_function("jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'")
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    cells = page.locator(".widget-html-content tbody td")
    first = cells_of(explorer.lists(explorer.row("article-0-1", "en"), (XX, HYBRID)))
    playwright.expect(cells).to_have_text(first)

    def choose(name, label):
        page.locator(".widget-dropdown").filter(has_text=name).locator("select").select_option(label=label)

    choose("language", "Arabic (ar)")
    same = explorer.lists(explorer.row("article-0-1", "ar"), (XX, HYBRID))
    playwright.expect(cells).to_have_text(cells_of(same))
    choose("question", "14 ar")
    choose("left", "untrained")
    second = cells_of(explorer.lists(explorer.row("article-3-2", "ar"), (UNTRAINED, HYBRID)))
    playwright.expect(cells).to_have_text(second)
    assert_is_coloured_and_directed(cells, explore.TOP)
    assert page.locator(".widget-html-content thead").inner_text().count("rank distance ") == 2

    switch = page.get_by_label("left: language taken out")
    switch.check()
    treated = explorer.lists(explorer.row("article-3-2", "ar"), (replace(UNTRAINED, remedy=explore.REMEDY), HYBRID))
    playwright.expect(cells).to_have_text(cells_of(treated))
    assert cells_of(treated) != second, "lists that do not differ would prove nothing"
    switch.uncheck()
    playwright.expect(cells).to_have_text(second)

    typed = page.get_by_placeholder("your own question")
    typed.fill("17 th")
    typed.press("Enter")
    third = cells_of(explorer.lists("17 th", (UNTRAINED, HYBRID)))
    playwright.expect(cells).to_have_text(third)
    playwright.expect(page.locator(".widget-html-content p")).to_contain_text("no answer to it is known")
    assert len({*map(tuple, (first, second, third))}) == 3, "lists that do not differ would prove nothing"

    shutil.rmtree(store.run_folder(XY, 0) / "model")
    choose("right", "X-Y")
    playwright.expect(page.locator(".widget-output")).to_contain_text("modules.json is missing")
