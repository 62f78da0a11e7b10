import assert from "node:assert/strict";
import test from "node:test";

// As much of a page as a dialog needs: the event of its closing comes later, as in a browser.
class Element {
  open = false;
  value = "";
  textContent = "";
  shown = 0;
  dataset = {};
  classList = { toggle() {} };
  append() {}
  setAttribute() {}
  focus() {}
  replaceChildren() {}
  showModal() {
    assert.equal(this.open, false, "no dialog takes the place of another");
    this.open = true;
    this.shown += 1;
  }
  close() {
    this.open = false;
    setTimeout(() => this.onclose());
  }
}

class Page extends EventTarget {
  hidden = false;
  elements = new Map();
  getElementById(id) {
    if (!this.elements.has(id)) this.elements.set(id, new Element());
    return this.elements.get(id);
  }
  createElement() {
    return new Element();
  }
  hide(hidden) {
    this.hidden = hidden;
    this.dispatchEvent(new Event("visibilitychange"));
  }
}

const page = (globalThis.document = new Page());
const kept = new Map();
globalThis.sessionStorage = {
  getItem: (name) => kept.get(name) ?? null,
  setItem: (name, value) => kept.set(name, value),
  removeItem: (name) => kept.delete(name),
};
const { ask } = await import("../../athanore/api/page/web/static/dialogs.js");
const { request } = await import("../../athanore/api/page/web/static/calls.js");
const { untilShown, whileShown } = await import("../../athanore/api/page/web/static/shown.js");

const $ = (id) => page.getElementById(id);
const moment = () => new Promise((resolve) => setTimeout(resolve, 5));

async function answer(text) {
  await moment();
  $("ask-input").value = text;
  $("ask-form").onsubmit({ preventDefault() {} });
}

// A server that is locked with a key, and refuses headers that no browser would send.
const asked = [];
globalThis.fetch = async (path, { headers }) => {
  new Headers(headers);
  asked.push(headers.Authorization);
  return new Response("{}", { status: headers.Authorization === "Bearer open sesame" ? 200 : 401 });
};

test("a question waits until the one that is open is answered", async () => {
  const first = ask({ title: "Move", label: "To", yes: "Move" });
  const second = ask({ title: "Key", label: "Key", yes: "Open" });
  await moment();
  assert.equal($("ask-title").textContent, "Move");
  await answer("Done");
  assert.equal(await first, "Done");
  await moment();
  assert.equal($("ask-title").textContent, "Key");
  $("ask-no").onclick();
  assert.equal(await second, null);
});

test("a key with characters that no header carries is refused in the dialog", async () => {
  const response = request("GET", "/board");
  for (const wrong of ["••••••••", "“open sesame”", "open sesame\u200b"]) {
    await answer(wrong);
    await moment();
    assert.match($("ask-error").textContent, /not accepted: it has characters/);
  }
  await answer("open sesame");
  assert.equal((await response).status, 200);
  assert.equal(kept.get("athanore.api-key"), "open sesame");
  assert.deepEqual(asked, [undefined, "Bearer open sesame"]);
});

test("such a key that is kept already is dropped, and asked for again", async () => {
  kept.set("athanore.api-key", "••••");
  const response = request("GET", "/board");
  await moment();
  assert.equal($("ask-error").textContent, "This key was not accepted.");
  await answer("open sesame");
  assert.equal((await response).status, 200);
});

test("a key that the server refuses is asked for once, while others wait for it, too", async () => {
  kept.set("athanore.api-key", "an old one");
  const before = $("ask").shown;
  const both = [request("GET", "/board"), request("GET", "/workers")];
  await answer("open sesame");
  assert.deepEqual((await Promise.all(both)).map((r) => r.status), [200, 200]);
  assert.equal($("ask").shown, before + 1);
});

test("who gives no key is asked again for what they do, and not for what the page does", async () => {
  kept.clear();
  const before = $("ask").shown;
  const look = request("GET", "/board", { quiet: true });
  await moment();
  $("ask-no").onclick();
  await assert.rejects(look, { status: 401 });
  await assert.rejects(request("GET", "/board", { quiet: true }), { status: 401 });
  assert.equal($("ask").shown, before + 1);
  const asked = request("POST", "/tasks", { body: {} });
  await answer("open sesame");
  assert.equal((await asked).status, 200);
  assert.equal($("ask").shown, before + 2);
  kept.set("athanore.api-key", "an old one");
  const again = request("GET", "/board", { quiet: true });
  await answer("open sesame");
  assert.equal((await again).status, 200);
});

test("what is not answered is said after a while, and that it may have been done", async () => {
  const { timeout } = AbortSignal;
  AbortSignal.timeout = () => timeout.call(AbortSignal, 5);
  const { fetch } = globalThis;
  globalThis.fetch = (path, { signal }) =>
    new Promise((resolve, reject) => {
      const alive = setTimeout(resolve, 5000);
      signal.addEventListener("abort", () => (clearTimeout(alive), reject(signal.reason)));
    });
  try {
    await assert.rejects(request("POST", "/tasks", { body: {} }), /may have done this all the same/);
  } finally {
    AbortSignal.timeout = timeout;
    globalThis.fetch = fetch;
  }
});

test("a page that is hidden keeps no stream, and goes on when it is shown", async () => {
  const mine = new AbortController();
  const first = whileShown(mine.signal);
  assert.equal(first.signal.aborted, false);
  page.hide(true);
  assert.equal(first.signal.aborted, true);
  let isShown = false;
  const shown = untilShown().then(() => (isShown = true));
  page.hide(true);
  await moment();
  assert.equal(isShown, false);
  page.hide(false);
  await shown;
  const second = whileShown(mine.signal);
  mine.abort();
  assert.equal(second.signal.aborted, true);
  assert.equal(whileShown(mine.signal).signal.aborted, true);
});

test("a transcript goes on after its last event when the page is shown again", async () => {
  const heads = [];
  const seen = [];
  const { fetch } = globalThis;
  globalThis.fetch = async (path, { headers, signal }) => {
    heads.push(headers["Last-Event-ID"]);
    const body = new ReadableStream({
      start(controller) {
        controller.enqueue(new TextEncoder().encode(`id: ${heads.length}\ndata: \n\n`));
        signal.addEventListener("abort", () => {
          seen.push("closed");
          controller.error(signal.reason);
        });
      },
    });
    return new Response(body, { status: 200 });
  };
  const { follow, stopFollowing } = await import("../../athanore/api/page/web/static/transcript.js");
  const done = follow("1");
  await moment();
  page.hide(true);
  await moment();
  assert.deepEqual([heads, seen], [[undefined], ["closed"]]);
  page.hide(false);
  await moment();
  assert.deepEqual(heads, [undefined, "1"]);
  stopFollowing();
  await done;
  globalThis.fetch = fetch;
});

test("the time in which somebody looks for the key is not the server's", async () => {
  const { startLooking } = await import("../../athanore/api/page/web/static/looking.js");
  page.hidden = true; // one look is enough
  kept.clear();
  const { fetch } = globalThis;
  const { timeout } = AbortSignal;
  AbortSignal.timeout = () => timeout.call(AbortSignal, 20);
  globalThis.fetch = (path, options) => {
    options.signal.throwIfAborted();
    return fetch(path, options);
  };
  let boards = 0;
  const look = startLooking(() => (boards += 1));
  await new Promise((resolve) => setTimeout(resolve, 40));
  await answer("open sesame");
  await look;
  assert.equal(boards, 1);
});
