"""The page in a real browser: it sounds, switches without a jump, and asks nobody for anything."""

import os
import shutil
import struct
from itertools import pairwise

import pytest

from mss_cli.reports.excerpts import Excerpt
from mss_cli.reports.page import write_report
from mss_cli.reports.results import read_results
from report_data import seeded, write, write_tone

CHROMIUM = os.environ.get("MSS_CHROMIUM") or shutil.which("chromium")
pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")]
playwright = pytest.importorskip("playwright.sync_api", reason="no playwright")

VERSIONS = {"mixture": 500, "reference": 1000, "a": 2000, "b": 4000}  # the tone that each one is, Hz

# Notes when each source starts and from where, and listens to what leaves for the loudspeaker.
LISTENER = """
window.starts = [];
const start = AudioBufferSourceNode.prototype.start;
AudioBufferSourceNode.prototype.start = function (when, offset) {
  window.starts.push({ when, offset, loop: this.loop, from: this.loopStart, to: this.loopEnd });
  return start.call(this, when, offset);
};
const connect = AudioNode.prototype.connect;
AudioNode.prototype.connect = function (target, ...rest) {
  if (target instanceof AudioDestinationNode) {
    if (!window.ear) {
      window.ear = new AnalyserNode(this.context, { fftSize: 8192, smoothingTimeConstant: 0 });
      window.clock = this.context;
    }
    connect.call(this, window.ear);
  }
  return connect.call(this, target, ...rest);
};
window.pitch = () => {
  const levels = new Float32Array(window.ear.frequencyBinCount);
  window.ear.getFloatFrequencyData(levels);
  const loudest = levels.reduce((best, level, bin) => (level > levels[best] ? bin : best), 0);
  return { hz: loudest * window.clock.sampleRate / 8192, db: levels[loudest] };
};
"""


@pytest.fixture(scope="module")
def page_path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    systems = [read_results(write(folder / f"{n}.json", seeded(n, seed=i, gain=i))) for i, n in enumerate("ab")]
    versions = {name: write_tone(folder / f"{name}.wav", hz, seconds=6.5) for name, hz in VERSIONS.items()}
    excerpts = [Excerpt(f"Artist {n} - Song No. {n}", "vocals", 0.5, 6.0, versions) for n in (1, 2)]
    return write_report(folder / "out", systems, excerpts)


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        # A root user has no sandbox to use.
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser, page_path):
    """The open page; its `requests` and `faults` are lists."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.requests, page.faults = [], []
    page.on("request", lambda request: page.requests.append(request.url))
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    page.on("console", lambda message: page.faults.append(message.text) if message.type == "error" else None)
    page.add_init_script(LISTENER)
    page.goto(page_path.as_uri())
    yield page
    faults = page.faults
    page.close()
    assert faults == []


def until(page, condition):
    """Wait for a condition; the page's policy keeps Playwright's own way of waiting out, and stays on."""
    for _ in range(200):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"never came true: {condition}")


def position(page, player=0):
    return float(page.locator(".player").nth(player).get_attribute("data-position"))


def play(page, player=0):
    page.locator(".player").nth(player).locator("[data-do=play]").click()
    until(page, f"Number(document.querySelectorAll('.player')[{player}].dataset.position) > 0.2")


def active(page):
    return page.locator(".player").first.locator(".version[aria-pressed=true] bdi").all_inner_texts()


def hear(page, hz):
    """Wait until the loudspeaker gives a tone."""
    until(page, f"Math.abs(window.pitch().hz - {hz}) < 20 && window.pitch().db > -40")


def test_nothing_leaves_the_file(page, page_path):
    play(page)
    page.keyboard.press("4")
    hear(page, VERSIONS["b"])
    outside = [url for url in page.requests if url != page_path.as_uri() and not url.startswith("data:")]
    assert outside == []
    assert page.requests[0] == page_path.as_uri()


def test_pressing_play_moves_the_clock_and_sounds(page):
    assert position(page) == 0
    play(page)
    hear(page, VERSIONS["mixture"])
    assert page.locator("[data-do=play]").first.get_attribute("aria-pressed") == "true"
    assert page.locator(".player").first.locator(".now").inner_text() != "0:00.0"
    page.keyboard.press(" ")
    stopped = position(page)
    page.wait_for_timeout(300)
    assert position(page) == stopped
    assert page.locator("[data-do=play]").first.get_attribute("aria-pressed") == "false"


def test_keys_switch_what_is_heard_without_a_jump(page):
    play(page)
    for key, name in (("3", "a"), ("2", "reference"), ("4", "b"), ("1", "mixture")):
        page.keyboard.press(key)
        hear(page, VERSIONS[name])
        assert active(page) == [name]
    starts = page.evaluate("window.starts")
    # One start per version for the whole time, all at one moment of one clock: nothing was started anew to switch.
    assert len(starts) == 4
    assert len({(start["when"], start["offset"]) for start in starts}) == 1
    # The clock shown is the time since that start.
    shown, passed = page.evaluate(
        """new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done([
          Number(document.querySelector(".player").dataset.position),
          window.clock.currentTime - window.starts[0].when,
        ]))))"""
    )
    assert shown == pytest.approx(passed, abs=0.1)


def test_every_version_has_the_length_of_the_excerpt_once_decoded(page):
    lengths = page.evaluate(
        """async () => {
          const context = new OfflineAudioContext(1, 1, 44100);
          const sounds = [...document.querySelectorAll(".player:first-of-type audio")];
          return Promise.all(sounds.slice(0, 4).map(async (sound) => {
            const raw = Uint8Array.from(atob(sound.src.split(",")[1]), (letter) => letter.charCodeAt(0));
            return (await context.decodeAudioData(raw.buffer)).length;
          }));
        }"""
    )
    assert lengths == [6 * 44100] * 4


def test_arrows_seek_by_a_second(page):
    play(page)
    page.keyboard.press(" ")
    before = position(page)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert position(page) == pytest.approx(before + 2, abs=0.002)
    page.keyboard.press("ArrowLeft")
    assert position(page) == pytest.approx(before + 1, abs=0.002)


def test_dragging_chooses_a_loop_that_all_versions_run(page):
    area = page.locator(".pictures").nth(1)
    area.scroll_into_view_if_needed()
    box = area.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + 20, steps=4)
    page.mouse.up()
    assert page.locator("[data-do=loop]").first.get_attribute("aria-pressed") == "true"
    assert page.locator(".region:visible").count() == 4
    page.keyboard.press(" ")
    until(page, "window.starts.length === 4")
    start = page.evaluate("window.starts[3]")
    assert (start["loop"], start["offset"]) == (True, start["from"])
    assert (start["from"], start["to"]) == pytest.approx((3.0, 3.6), abs=0.02)
    seen = []
    for _ in range(12):
        page.wait_for_timeout(100)
        seen.append(position(page))
    assert min(seen) >= 2.97
    assert max(seen) <= 3.63
    assert any(later < earlier for earlier, later in pairwise(seen))
    page.keyboard.press("l")
    assert page.locator("[data-do=loop]").first.get_attribute("aria-pressed") == "false"


def test_keys_set_the_ends_of_the_loop(page):
    play(page)
    page.keyboard.press(" ")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("a")
    begin = position(page)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("b")
    text = page.locator("[data-do=loop]").first.inner_text()
    shown = [int(minutes) * 60 + float(rest) for minutes, rest in (part.split(":") for part in text[6:].split(" to "))]
    assert shown == pytest.approx([begin, begin + 1], abs=0.11)


def test_the_end_of_the_excerpt_stops_and_goes_back(page):
    play(page)
    area = page.locator(".pictures").first
    area.click(position={"x": area.bounding_box()["width"] * 0.95, "y": 30})
    assert position(page) > 5.6
    until(page, "document.querySelector('[data-do=play]').getAttribute('aria-pressed') === 'false'")
    until(page, "document.querySelector('.player').dataset.position === '0.000'")


def test_only_one_player_sounds(page):
    play(page)
    play(page, 1)
    pressed = [button.get_attribute("aria-pressed") for button in page.locator("[data-do=play]").all()]
    assert pressed == ["false", "true"]


def test_the_space_bar_presses_a_button_that_the_keyboard_has_reached(page):
    page.locator(".player").first.locator(".version").nth(2).focus()
    page.keyboard.press(" ")
    assert active(page) == ["a"]
    assert page.locator("[data-do=play]").first.get_attribute("aria-pressed") == "false"


def test_a_click_on_a_heading_sorts_by_its_column(page):
    column = page.locator("#score-table tbody tr:not([hidden]) td:nth-child(4)")
    page.locator("#score-table thead button").nth(3).click()
    falling = [float(text.replace("−", "-")) for text in column.all_inner_texts()]
    assert falling == sorted(falling, reverse=True)
    assert page.locator("#score-table th[aria-sort=descending]").inner_text().startswith("SDR")
    page.locator("#score-table thead button").nth(3).click()
    assert [float(text.replace("−", "-")) for text in column.all_inner_texts()] == falling[::-1]


def test_filters_leave_the_rows_of_one_system_and_stem(page):
    page.select_option("#filter-system", "b")
    page.select_option("#filter-stem", "bass")
    rows = page.locator("#score-table tbody tr:visible").all_inner_texts()
    assert len(rows) == 12
    assert all("\tb\tbass\t" in row for row in rows)
    assert page.locator("#filter-count").inner_text() == "12 rows"


def test_without_scripts_each_version_has_a_player_of_its_own(browser, page_path):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(page_path.as_uri())
    assert page.locator("audio:visible").count() == 8
    assert page.locator(".controls:visible").count() == 0
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1280])
def test_nothing_is_wider_than_the_window(browser, page_path, tmp_path, width, scheme):
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.goto(page_path.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") == width
    picture = tmp_path / f"{width}-{scheme}.png"
    page.screenshot(path=picture, full_page=True)
    assert struct.unpack(">II", picture.read_bytes()[16:24])[0] == width
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == (
        "rgb(250, 250, 248)" if scheme == "light" else "rgb(20, 23, 26)"
    )
    page.close()
