import assert from "node:assert/strict";
import test from "node:test";

// As much of a page as an opened task needs. It is hidden, so that nothing is asked again and again.
class Element extends EventTarget {
  children = [];
  textContent = "";
  value = "";
  dataset = {};
  open = false;
  classList = { toggle() {} };
  append(...more) {
    this.children.push(...more);
  }
  replaceChildren(...more) {
    this.children = more;
  }
  contains(other) {
    return this === other || this.children.some((child) => child.contains?.(other));
  }
  focus() {
    page.activeElement = this;
  }
  showModal() {
    this.open = true;
  }
  close() {
    this.open = false;
    this.dispatchEvent(new Event("close"));
  }
  setAttribute() {}
  remove() {}
  matches() {}
  showPopover() {}
}

class Page extends EventTarget {
  hidden = true;
  activeElement = null;
  elements = new Map();
  createElement() {
    return new Element();
  }
  getElementById(id) {
    return this.elements.get(id) ?? this.elements.set(id, new Element()).get(id);
  }
}

const page = (globalThis.document = new Page());
globalThis.sessionStorage = { getItem: () => null };
globalThis.location = { hash: "", pathname: "/" };
globalThis.history = { replaceState() {} };
globalThis.addEventListener = () => {};
const { setTimeout: later } = globalThis;
globalThis.setTimeout = (...what) => later(...what).unref(); // a toast keeps nobody waiting
const $ = (id) => page.getElementById(id);
const moment = () => new Promise((resolve) => later(resolve, 5));

const asked = [];
const comments = [{ text: "First", author: "eve" }];
const posted = [];
let held = Promise.resolve();
globalThis.fetch = async (path, { method, headers, body }) => {
  asked.push(`${method} ${path}`);
  let answer = {};
  if (method === "POST") {
    posted.push([path, JSON.parse(body).comment, headers["Idempotency-Key"]]);
    await held;
  } else if (path.endsWith("/runs")) answer = [{ queue_name: "Todo", state: "Running", url: "/run" }];
  else answer = { name: "Fix it", queue_name: "In Progress", description: "", tasks: [], comments };
  return new Response(JSON.stringify(answer), { status: 200 });
};

const { page: known } = await import("../../athanore/api/page/web/static/state.js");
const { followHash, showOpenedState, startTasks } = await import("../../athanore/api/page/web/static/task.js");
const { startWriting } = await import("../../athanore/api/page/web/static/writing.js");
known.board = { queues: [], prefect_error: null };
startTasks();
startWriting();

const run = { phase: "working", attempt: 1, max_attempts: 3, message: "", last_line: "One", url: "/run" };
const card = { id: "7", name: "Fix it", queue_name: "In Progress", labels: [], assignees: [], actions: ["cancel"], run };

function look(more = {}) {
  known.cards.set("7", { card: { ...card, run: { ...run, ...more } } });
  showOpenedState();
}

async function open(id) {
  location.hash = id ? `#task/${id}` : "";
  followHash();
  await moment();
}

async function changed() {
  page.dispatchEvent(new CustomEvent("task-changed"));
  await moment();
}

const buttons = () => $("task-actions").children;

test("what an agent prints changes a line of its opened task, and nothing else", async () => {
  look();
  await open("7");
  const there = [...buttons()];
  const first = $("task-comments").children[0];
  assert.deepEqual(there.map((b) => b.textContent), ["Move…", "Stop the agent…", "Run in Prefect"]);
  asked.length = 0;
  look({ last_line: "Two" });
  assert.ok($("task-state").children.some((line) => line.textContent === "Two"));
  assert.deepEqual(asked, []);
  assert.deepEqual([...buttons()].map((b, i) => b === there[i]), [true, true, true]);

  // What is read anew, and is the same, stays the elements that it was; a new comment is shown.
  const [ran] = $("task-runs").children;
  await changed();
  assert.deepEqual(asked, ["GET /tasks/7", "GET /tasks/7/runs"]);
  assert.ok($("task-comments").children[0] === first && $("task-runs").children[0] === ran);
  comments.push({ text: "Second" });
  await changed();
  assert.equal($("task-comments").children.length, 2);
});

test("another attempt is read, and its buttons stay; another phase has others", async () => {
  const there = buttons()[0];
  there.focus();
  asked.length = 0;
  look({ attempt: 2 });
  assert.deepEqual(asked, ["GET /tasks/7", "GET /tasks/7/runs"]);
  assert.ok(buttons()[0] === there && page.activeElement === there);
  look({ phase: "waiting" });
  assert.notEqual(buttons()[0], there);
  assert.equal(page.activeElement, $("task-name"));
  await moment();
});

function type(text) {
  $("comment-text").value = text;
  $("comment-text").dispatchEvent(new Event("input"));
}

const send = () => $("comment-form").dispatchEvent(new Event("submit"));

test("a comment that somebody writes is there until it is posted", async () => {
  let release;
  held = new Promise((resolve) => (release = resolve));
  type("Mind the tests.");
  send();
  type("Mind the tests. And the docs.");
  release();
  await moment();
  assert.equal($("comment-text").value, "Mind the tests. And the docs.", "written on meanwhile");
  $("task").close();
  await open("8");
  assert.equal($("comment-text").value, "");
  type("Another task's");
  await open("7");
  assert.equal($("comment-text").value, "Mind the tests. And the docs.");
  send();
  await moment();
  assert.equal($("comment-text").value, "");
  await open("8");
  assert.equal($("comment-text").value, "Another task's");
  const texts = posted.map(([path, text]) => `${path} ${text}`);
  assert.deepEqual(texts, [
    "/tasks/7/comments Mind the tests.",
    "/tasks/7/comments Mind the tests. And the docs.",
  ]);
  assert.notEqual(posted[0][2], posted[1][2]);
});
