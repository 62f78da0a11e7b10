import assert from "node:assert/strict";
import test from "node:test";

// As much of a page as the transcript needs.
class Element {
  parent = null;
  children = [];
  textContent = "";
  value = "";
  dataset = {};
  scrollHeight = 0;
  scrollTop = 0;
  clientHeight = 0;
  get isConnected() {
    return this.parent !== null;
  }
  get firstElementChild() {
    return this.children[0];
  }
  #own(more) {
    return more.map((one) => (typeof one === "string" ? one : Object.assign(one, { parent: this })));
  }
  append(...more) {
    this.children.push(...this.#own(more));
  }
  prepend(...more) {
    this.children.unshift(...this.#own(more));
  }
  replaceChildren(...more) {
    for (const child of [...this.children]) child.remove();
    this.append(...more);
  }
  remove() {
    this.parent.children.splice(this.parent.children.indexOf(this), 1);
    this.parent = null;
  }
  setAttribute() {}
  addEventListener() {}
  querySelector(selector) {
    const name = selector.split(".").at(-1);
    return this.children.find((child) => child.className?.split(" ").includes(name)) ?? null;
  }
}

const elements = new Map();
globalThis.document = {
  createElement: () => new Element(),
  getElementById: (id) => elements.get(id) ?? elements.set(id, new Element()).get(id),
};

const { addEvent, forgetChapters, transcriptText } = await import("../../athanore/api/page/web/static/chapters.js");

const AT = "2026-11-27T10:00:00Z";
const tell = (kind, data) => addEvent({ kind, data, at: AT, run_id: "run-1" });
const output = (from, to) => {
  const lines = Array.from({ length: to - from }, (_, i) => ({ stream: "stdout", text: `line ${from + i}` }));
  tell("output", { lines });
};

test("of a long transcript the page shows the last lines, and the download has all", () => {
  forgetChapters();
  tell("claimed", { queue: "Todo", attempt: 1 });
  for (let at = 0; at < 6000; at += 500) output(at, at + 500);
  tell("tool-use", { name: "Write", input: "x".repeat(2000) });
  const log = document.getElementById("transcript");
  const body = log.children.find((child) => child.className === "chapter").children[1];
  assert.equal(body.children.length, 5000);
  assert.match(log.firstElementChild.textContent, /the download has all/);
  const [head, first, ...rest] = transcriptText().trimEnd().split("\n");
  assert.match(head, /^== Todo, attempt 1, /);
  assert.equal(first, "line 0");
  assert.equal(rest.length, 6000);
  assert.equal(rest.at(-1), `→ Write ${"x".repeat(2000)}`);
});

test("of what replaces itself the download has the last", () => {
  forgetChapters();
  tell("claimed", { queue: "Todo", attempt: 1 });
  tell("progress", { percent: 10, text: "a" });
  output(0, 1);
  tell("progress", { percent: 50, text: "b" });
  tell("finished", { message: "Done" });
  const [head, ...lines] = transcriptText().trimEnd().split("\n");
  assert.match(head, /\(finished\)$/);
  assert.deepEqual(lines, ["line 0", "50 %: b", "Done"]);
});
