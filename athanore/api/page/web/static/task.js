// A task, opened: a sheet beside the board.
import { actionsOf } from "./actions.js";
import { request, taskPath } from "./calls.js";
import { showLabels, stateOf } from "./cards.js";
import { $, make, outside, setText } from "./elements.js";
import { showProse } from "./prose.js";
import { page } from "./state.js";
import { ticking } from "./times.js";
import { follow, showLiveness, stopFollowing } from "./transcript.js";
import { showDraft } from "./writing.js";

const sheet = $("task");

export function followHash() {
  const found = /^#task\/(.+)$/.exec(location.hash);
  let id = null;
  try {
    id = found && decodeURIComponent(found[1]);
  } catch {
    // no address of ours
  }
  if (id && id !== page.opened) showTask(id);
  else if (!id && sheet.open) sheet.close();
}

export function startTasks() {
  addEventListener("hashchange", followHash);
  $("task-close").addEventListener("click", () => sheet.close());
  sheet.addEventListener("click", (event) => {
    if (event.target === sheet && event.clientX < sheet.getBoundingClientRect().left) sheet.close();
  });
  sheet.addEventListener("close", () => {
    page.opened = null;
    stopFollowing();
    if (location.hash) history.replaceState(null, "", location.pathname);
  });
  document.addEventListener("task-changed", () => page.opened && loadTask(page.opened, { quiet: true }));
}

function showTask(id) {
  page.opened = id;
  for (const part of ["task-why", "task-description", "task-checklist", "task-comments", "task-runs"]) {
    $(part).replaceChildren();
    delete $(part).dataset.said;
  }
  filled.clear();
  setText($("task-name"), page.cards.get(id)?.card.name || id);
  setText($("task-id"), `#${id}`);
  setText($("task-said"), "");
  showDraft(id);
  showOpenedState();
  if (!sheet.open) sheet.showModal();
  sheet.scrollTop = 0;
  $("task-name").focus();
  loadTask(id);
  follow(id);
}

const filled = new Map(); // by element, what it was filled with

// Fills an element, unless it was filled with the same: what stands there keeps its focus, and a
// click on it, or what is selected there, is not lost.
function fill(element, what, make) {
  const text = JSON.stringify(what);
  if (filled.get(element) === text) return;
  filled.set(element, text);
  element.replaceChildren(...make());
}

const PASSING = new Set(["last_line", "message"]); // what a run says while it goes on
const REREAD_MS = 15000; // what people write on a tracker while an agent talks
let readAt = 0;
let openedText = "";
let lastingText = "";

export function showOpenedState() {
  const card = page.cards.get(page.opened)?.card;
  const text = JSON.stringify([page.opened, card]);
  if (text === openedText) return;
  openedText = text;
  $("task-state").replaceChildren(...(card ? stateOf(card) : []));
  const lasting = JSON.stringify([page.opened, card], (key, value) => (PASSING.has(key) ? undefined : value));
  if (lasting === lastingText) {
    if (sheet.open && Date.now() - readAt > REREAD_MS) loadTask(page.opened, { quiet: true });
    return;
  }
  const changed = lastingText !== "" && sheet.open;
  lastingText = lasting;
  setText($("task-queue"), card ? card.queue_name : "");
  showLabels($("task-labels"), card || { labels: [], assignees: [] });
  showActions(card);
  if (!changed) return;
  loadTask(page.opened, { quiet: true });
  showLiveness();
}

function showActions(card) {
  const actions = $("task-actions");
  const hadFocus = actions.contains(document.activeElement);
  const made = card ? actionsOf(card) : [];
  const seen = made.map((action) => [action.textContent, action.href]);
  fill(actions, [page.opened, card?.name, card?.queue_name, card?.run?.phase, seen], () => made);
  if (hadFocus && !actions.contains(document.activeElement)) $("task-name").focus();
}

async function loadTask(id, options) {
  readAt = Date.now();
  try {
    const card = page.cards.get(id)?.card;
    const isAtRest = !card?.run && !card?.waits_for; // else the card says why
    const [task, runs, why] = await Promise.all([
      request("GET", taskPath(id), options).then((r) => r.json()),
      request("GET", taskPath(id, "/runs"), options).then((r) => r.json(), () => null),
      isAtRest ? request("GET", taskPath(id, "/explanation"), options).then((r) => r.json(), () => null) : null,
    ]);
    if (id !== page.opened) return;
    showDetails(task, runs);
    showWhy(why);
  } catch (error) {
    if (id === page.opened) {
      $("task-description").className = "prose none";
      showProse($("task-description"), error.message);
    }
  }
}

function showDetails(task, runs) {
  setText($("task-name"), task.name);
  setText($("task-queue"), task.queue_name);
  $("task-description").className = task.description ? "prose" : "prose none";
  showProse($("task-description"), task.description || "No description.");
  fill($("task-checklist"), task.tasks, () =>
    task.tasks.map((item) => {
      const line = make("li");
      const box = make("span", "", item.is_completed ? "☑" : "☐");
      box.setAttribute("role", "img");
      box.setAttribute("aria-label", item.is_completed ? "done" : "open");
      line.append(box, make("span", "", item.name));
      return line;
    }),
  );
  fill($("task-comments"), task.comments, () => {
    const comments = task.comments.map(commentOf);
    return comments.length ? comments : [make("li", "none", "No comments.")];
  });
  fill($("task-runs"), runs, () => runsOf(runs));
}

function commentOf(comment) {
  const item = make("li");
  const by = make("p", "by");
  if (comment.author) by.append(make("span", "", comment.author));
  if (comment.created_at) by.append(ticking("ago", comment.created_at));
  if (by.children.length) item.append(by);
  const said = make("div", "prose");
  showProse(said, comment.text);
  item.append(said);
  return item;
}

function showWhy(why) {
  const parts = why ? [make("span", "", why.reason)] : []; // null: Prefect does not answer
  if (why?.until) parts.push(" ", ticking("due", why.until));
  $("task-why").replaceChildren(...parts);
}

function runsOf(runs) {
  if (runs === null) return [make("li", "none", "Prefect does not answer.")];
  const items = runs.map((run) => {
    const item = make("li");
    const what = make("span");
    const name = run.url ? outside(`${run.queue_name}: ${run.state}`, run.url) : make("span", "", `${run.queue_name}: ${run.state}`);
    what.append(name, make("span", "quiet", run.attempt > 1 ? ` · ${run.attempt} attempts` : ""));
    item.append(what);
    if (run.started_at) item.append(ticking("ago", run.started_at));
    return item;
  });
  return items.length ? items : [make("li", "none", "No agent has worked on this task.")];
}
