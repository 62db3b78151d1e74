# SPDX-License-Identifier: LGPL-2.1-or-later
"""Looks at outboxd's status page in a headless Chromium. status.py DOC FOLDER; prints TAP."""
import base64
import functools
import http.server
import json
import os
import sys
import threading
import time

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

DOC, FOLDER = sys.argv[1:3]
PORT, TOKEN = os.environ["OUTBOX_TEST_PORT"], os.environ["OUTBOX_TEST_TOKEN"]
PAGE = f"http://127.0.0.1:{PORT}/"
WRITE = os.environ.get("OUTBOX_TEST_SCREENSHOTS") == "write"
count = failed = 0


def check(what, good, said=""):
    global count, failed
    count += 1
    failed += not good
    if not good:
        for line in str(said).splitlines():
            print("# " + line)
    print(f"{'ok' if good else 'not ok'} {count} - {what}", flush=True)


def start():
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for flag in ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
                 "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
                 f"--user-data-dir={FOLDER}/chromium", "--window-size=1280,900",
                 "--host-resolver-rules=MAP evil.example 127.0.0.1"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    made = webdriver.Chrome(service=Service("/usr/bin/chromedriver"), options=options)
    made.set_script_timeout(120)
    return made


driver = start()


def run(script, *arguments):
    return driver.execute_script(script, *arguments)


def wait(script, *arguments, tries=1200):
    """Until the script returns something true; returns that, or the last."""
    for _ in range(tries):
        found = run(script, *arguments)
        if found:
            return found
        time.sleep(0.1)
    return found


def text(selector):
    return run("return document.querySelector(arguments[0])?.innerText ?? ''", selector)


def become(what, script, *arguments):
    found = wait(script, *arguments)
    check(what, bool(found), f"{script}\nis {found!r}; the page says:\n{text('body')[:3000]}")


def shown(place):
    return f"return document.querySelectorAll('#{place} tbody tr').length"


def errors_logged():
    return [e["message"] for e in driver.get_log("browser") if e["level"] == "SEVERE"]


def emulate(scheme=None, width=None, height=900):
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [
        {"name": "prefers-color-scheme", "value": scheme or "light"}]})
    if width is None:
        driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    else:
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600})
    run("window.dispatchEvent(new Event('resize'))")


def picture(name, height):
    """Into doc/, or the test's folder."""
    run("document.activeElement.blur(); scrollTo(0, 0)")
    size = driver.execute_cdp_cmd("Page.getLayoutMetrics", {})["cssContentSize"]
    clip = {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], height), "scale": 1}
    made = driver.execute_cdp_cmd("Page.captureScreenshot", {
        "format": "png", "clip": clip, "captureBeyondViewport": True})
    path = os.path.join(DOC if WRITE else FOLDER, name)
    with open(path, "wb") as file:
        file.write(base64.b64decode(made["data"]))
    check(f"{name} is a picture", os.path.getsize(path) > 10000, os.path.getsize(path))


# Each text against what is behind it, as WCAG 2.1 counts it: 4.5 for text, 3 for large text.
CONTRAST = """
const light = (c) => c.slice(0, 3).map((v) => v / 255).map((v) => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
  .reduce((all, v, i) => all + v * [.2126, .7152, .0722][i], 0);
const parts = (text) => (text.match(/[\\d.]+/g) || [0, 0, 0, 0]).map(Number);
const bad = [];
for (const node of document.querySelectorAll('body *')) {
  const own = [...node.childNodes].some((c) => c.nodeType === 3 && c.textContent.trim() !== '');
  const box = node.getBoundingClientRect(), style = getComputedStyle(node);
  if (!own || box.width === 0 || box.right < 0 || style.visibility === 'hidden' || node.matches('script, style, option, :disabled'))
    continue;
  let behind = node, ground;
  do { ground = parts(getComputedStyle(behind).backgroundColor); behind = behind.parentElement; }
  while (behind !== null && ground.length > 3 && ground[3] === 0);
  const svg = node.namespaceURI.endsWith('svg');
  const [a, b] = [light(parts(svg ? style.fill : style.color)), light(ground)].sort((x, y) => y - x);
  const large = parseFloat(style.fontSize) >= 24;
  if ((a + .05) / (b + .05) < (large ? 3 : 4.5)) bad.push(`${node.tagName} ${node.textContent.slice(0, 30)} ${(a + .05) / (b + .05)}`);
}
return bad;
"""


# Whoever works without eyes or mouse: names, labels and roles.
UNNAMED = """
const bad = [];
for (const node of document.querySelectorAll('input, select, button, [role=img], section:not([hidden])'))
  if (!(node.labels && node.labels.length) && !node.textContent.trim() && !node.getAttribute('aria-label'))
    bad.push(node.outerHTML.slice(0, 80));
for (const node of document.querySelectorAll('section:not([hidden]):not([role])'))
  if (!node.getAttribute('aria-label') && !node.getAttribute('aria-labelledby')) bad.push(node.outerHTML.slice(0, 80));
if (!document.documentElement.lang) bad.push('no language');
if (document.querySelectorAll('h1').length !== 1 || !document.querySelector('main')) bad.push('no h1 or main');
return bad;
"""


def looks():
    driver.get(PAGE)
    become("the page shows how the outbox is", "return document.querySelector('#health').textContent === 'running'")
    become("… its dead letters", shown("dead") + " === 6")
    check("… with their errors", "amount" in text("#dead"), text("#dead"))
    become("… its blocked keys", shown("blocked") + " === 2")
    become("… its topics", shown("topics") + " >= 2")
    become("… its lanes", "return document.querySelectorAll('#lanes i').length === 16")
    become("… and who holds them", shown("owners") + " >= 1")
    points = 60 if WRITE else 4
    become("… what was published", f"return state.points.filter((p) => p.published > 0).length >= {points}")
    become("… and how long it took", "return state.points.some((p) => p.p95_ms > 0)")
    become("… as plots", "return [...document.querySelectorAll('#plots svg')].length === 3 && "
           "document.querySelectorAll('#plots svg path.s0')[1].getAttribute('d').length > 20")
    become("… which say so", "return document.querySelector('#plots svg').getAttribute('aria-label').includes(' now; at most ')")
    check("both outboxes can be chosen", run("return [...document.querySelectorAll('#outbox option')].map((o) => o.value)")
          == ["shop", "hostile"])
    resources = run("return performance.getEntriesByType('resource').map((r) => r.name)")
    check("nothing comes from elsewhere", resources and all(r.startswith(PAGE) or r.startswith("data:") for r in resources),
          resources)
    check("nothing went wrong in the browser", errors_logged() == [])
    unnamed = run(UNNAMED)
    check("everything has a name", unnamed == [], "\n".join(unnamed))


def schemes():
    grounds = []
    for scheme, width, name, height in (("light", 1280, "status-light.png", 1250), ("dark", 1280, "status-dark.png", 1250),
                                        ("dark", 390, "status-phone.png", 1700), ("light", 390, None, 0)):
        emulate(scheme, width)
        where = f"{scheme}, {width} wide"
        grounds.append(run("return getComputedStyle(document.body).backgroundColor"))
        bad = run(CONTRAST)
        check(f"{where}: all text can be read", bad == [], "\n".join(bad))
        wide = run("return [document.documentElement.scrollWidth, innerWidth]")
        check(f"{where}: it fits", wide[0] <= wide[1] == width, wide)
        if name is not None:
            picture(name, height)
    check("light and dark differ", len(set(grounds)) == 2, grounds)
    tall = run("return [...document.querySelectorAll('main button, header button')].filter((b) => b.offsetHeight && "
               "b.offsetHeight < 24).map((b) => b.outerHTML)")
    check("buttons are large enough for a finger", tall == [], tall)
    emulate()


def press(*keys, held=None):
    chain = ActionChains(driver)
    if held:
        chain.key_down(held)
    chain.send_keys(*keys)
    if held:
        chain.key_up(held)
    chain.perform()


def focused():
    return run("const a = document.activeElement; return a.id || a.className || a.tagName")


def by_keyboard():
    driver.get(PAGE)
    become("it is there again", shown("dead") + " === 6")
    found, outlines = [], []
    run("document.body.focus()")
    for _ in range(30):
        press(Keys.TAB)
        found.append(focused())
        outlines.append(run("return getComputedStyle(document.activeElement).outlineStyle"))
        if found[-1] == "text":
            break
    check("the first that gets the focus leads to the content", found[0] == "skip", found)
    check("then all that can be used, in order", [f for f in found if f in ("outbox", "pause", "token", "by", "text")]
          == ["outbox", "pause", "token", "by", "text"], found)
    check("… and one sees where it is", all(o != "none" for o in outlines), outlines)
    wanted = run("return state.overview.dead[0].id")
    press(wanted, Keys.ENTER)
    become("a search by id finds the message", "return document.querySelector('#found')?.innerText.includes(arguments[0])", wanted)
    press(Keys.TAB, held=Keys.SHIFT)
    press("k")
    press(Keys.TAB)
    press("a", held=Keys.CONTROL)
    press("customer-21", Keys.ENTER)
    become("… by key, all of it", "return document.querySelectorAll('#found tbody tr').length >= 3")
    check("… and the focus stays", focused() == "text", focused())
    run("document.querySelector('#pause').focus()")
    press(Keys.SPACE)
    check("it can be halted", run("return state.paused && document.querySelector('#pause').ariaPressed") == "true")
    press(Keys.SPACE)
    check("… and goes on", run("return state.paused") is False)


def token(value):
    run("document.querySelector('#access').hidden = false; document.querySelector('#token').focus()")
    press(value, Keys.ENTER)


def button(name):
    return f"document.querySelector('#dead .acts button[aria-label^={name}]')"


def changes():
    check("without a token there is nothing to press", run("return document.querySelectorAll('.acts button').length") == 0)
    token("wrong" * 5)
    become("a token brings buttons", f"return {button('Redrive')} !== null")
    run(f"{button('Redrive')}.click()")
    become("… a wrong one no more", "return document.querySelector('#said').textContent.includes('token is missing or wrong')")
    become("… and it is asked for again", "return document.querySelectorAll('.acts button').length === 0")
    check("nothing was changed", run(shown("dead")) == 6)
    token(TOKEN)
    become("with the right one", f"return {button('Redrive')} !== null")
    check("… which is kept nowhere", run("return [localStorage.length, sessionStorage.length, document.cookie]") == [0, 0, ""])
    open(os.path.join(FOLDER, "mend"), "w").close()
    run(f"{button('Redrive')}.focus()")
    press(Keys.ENTER)
    become("a dead letter is sent again, by keyboard", shown("dead") + " === 5")
    check("… which is said", "Sent again: 1." in text("#said"), text("#said"))
    run(f"{button('Discard')}.focus()")
    press(Keys.ENTER)
    become("to discard one, one is asked", "return document.querySelector('#ask').open")
    press(Keys.ESCAPE)
    become("… and may say no", "return !document.querySelector('#ask').open")
    check("… so that it stays", run(shown("dead")) == 5)
    run(f"{button('Discard')}.focus()")
    press(Keys.ENTER)
    wait("return document.querySelector('#ask').open")
    check("what is risky is not what Enter does first", run("return document.activeElement.value") == "no")
    press(Keys.TAB, Keys.ENTER)
    become("or yes", shown("dead") + " === 4")
    errors = [e for e in errors_logged() if "401" not in e]
    check("nothing else went wrong", errors == [], errors)


def hostile():
    run("const s = document.querySelector('#outbox'); s.value = 'hostile'; s.dispatchEvent(new Event('change'))")
    become("hostile texts are shown", shown("dead") + " === 1 && document.querySelectorAll('#blocked tbody tr').length === 1")
    dead = text("#dead")
    check("… as they are", "<img src=x onerror=\"window.harm=3\"><script>" in dead and "<svg onload=" in dead and "&amp;'" in dead, dead)
    check("… also in blocked keys", "<b>bold</b>" in text("#blocked") and "{{7*7}}" in text("#blocked"), text("#blocked"))
    check("… and are no elements", run("return document.querySelectorAll('main img, main script, main b, main svg[onload], main a')"
                                       ".length") == 0)
    check("… and do nothing", run("return window.harm === undefined"))
    run("window.refused = 0; document.addEventListener('securitypolicyviolation', () => window.refused++);"
        "const s = document.createElement('script'); s.textContent = 'window.harm = 7'; document.body.append(s);"
        "const d = document.createElement('div'); d.innerHTML = '<img src=x onerror=\"window.harm=8\">'; document.body.append(d)")
    become("… even if they got in", "return window.refused >= 3")
    check("… which is refused", run("return window.harm === undefined"))
    driver.get_log("browser")


class Foreign(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = f"<!doctype html><title>foreign</title><iframe src='{PAGE}'></iframe>".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


ASK = """
const [url, method, headers, mode, done] = arguments;
fetch(url, { method, headers, mode }).then((a) => a.text().then((t) => done(['answered', a.status, t])), (e) => done(['refused', e.name]));
"""


def foreign():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Foreign)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    dead = "/api/v1/messages?outbox=shop&state=dead"
    driver.get(PAGE)
    ask = functools.partial(driver.execute_async_script, ASK)
    before = json.loads(ask(dead, "GET", {}, "same-origin")[2])["messages"]
    driver.get(f"http://127.0.0.1:{server.server_port}/")
    allowed = {"Authorization": f"Bearer {TOKEN}"}
    redrive = f"{PAGE}api/v1/redrive?outbox=shop&id={before[0]['id']}"
    for what, answer in (("reads nothing", ask(PAGE + "api/v1/overview?outbox=shop", "GET", {}, "cors")),
                         ("changes nothing", ask(redrive, "POST", {}, "cors")),
                         ("changes nothing with the token", ask(redrive, "POST", allowed, "cors"))):
        check(f"a page of another origin {what}", answer[0] == "refused", answer)
    blind = ask(redrive, "POST", {}, "no-cors")
    check("… nor without asking", blind[0] == "refused" or blind[1] == 0, blind)
    check("… nor shows the page as its own", any("frame" in e.lower() for e in errors_logged()) and
          run("try { return document.querySelector('iframe').contentDocument === null } catch (e) { return true }"))
    driver.get(f"http://evil.example:{PORT}/")
    become("a name that leads here by a trick shows nothing", "return document.body.innerText.includes('hosts') && document.querySelector('main') === null")
    answer = ask(redrive.replace("127.0.0.1", "evil.example"), "POST", allowed, "same-origin")
    driver.get(PAGE)
    after = json.loads(ask(dead, "GET", {}, "same-origin")[2])["messages"]
    # The page that says no lets nothing be asked; whoever asks all the same is told no.
    check("… and changes nothing", answer[0] == "refused" or answer[1] == 403, answer)
    check("… as is seen afterwards", after == before, after)
    driver.get(PAGE)
    after = json.loads(ask(dead, "GET", {}, "same-origin")[2])["messages"]
    check("all dead letters are as they were", [m["id"] for m in after] == [m["id"] for m in before], after)
    server.shutdown()


try:
    for part in (looks, schemes, by_keyboard, changes, hostile, foreign):
        part()
finally:
    driver.quit()
print(f"1..{count}")
sys.exit(1 if failed else 0)
