// A task, opened: a sheet beside the board.
import { actionsOf } from "./actions.js";
import { request, taskPath } from "./calls.js";
import { showLabels, stateOf } from "./cards.js";
import { $, make, outside, setText } from "./elements.js";
import { showProse } from "./prose.js";
import { page } from "./state.js";
import { ticking } from "./times.js";
import { follow, showLiveness, stopFollowing } from "./transcript.js";

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
  document.addEventListener("task-changed", () => page.opened && loadTask(page.opened));
}

function showTask(id) {
  page.opened = id;
  for (const part of ["task-why", "task-description", "task-checklist", "task-comments", "task-runs"]) {
    $(part).replaceChildren();
    delete $(part).dataset.said;
  }
  setText($("task-name"), page.cards.get(id)?.card.name || id);
  setText($("task-id"), `#${id}`);
  setText($("task-said"), "");
  $("comment-text").value = "";
  showOpenedState();
  if (!sheet.open) sheet.showModal();
  sheet.scrollTop = 0;
  $("task-name").focus();
  loadTask(id);
  follow(id);
}

let openedText = "";

export function showOpenedState() {
  const card = page.cards.get(page.opened)?.card;
  const text = JSON.stringify(card) + page.opened;
  if (text === openedText) return;
  const changed = openedText !== "" && sheet.open;
  openedText = text;
  setText($("task-queue"), card ? card.queue_name : "");
  const actions = $("task-actions");
  const hadFocus = actions.contains(document.activeElement);
  $("task-state").replaceChildren(...(card ? stateOf(card) : []));
  showLabels($("task-labels"), card || { labels: [], assignees: [] });
  actions.replaceChildren(...(card ? actionsOf(card) : []));
  if (hadFocus && !actions.contains(document.activeElement)) $("task-name").focus();
  if (!changed) return;
  loadTask(page.opened);
  showLiveness();
}

async function loadTask(id) {
  try {
    const card = page.cards.get(id)?.card;
    const isAtRest = !card?.run && !card?.waits_for; // else the card says why
    const [task, runs, why] = await Promise.all([
      request("GET", taskPath(id)).then((r) => r.json()),
      request("GET", taskPath(id, "/runs")).then((r) => r.json(), () => null),
      isAtRest ? request("GET", taskPath(id, "/explanation")).then((r) => r.json(), () => null) : null,
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
  $("task-checklist").replaceChildren(
    ...task.tasks.map((item) => {
      const line = make("li");
      const box = make("span", "", item.is_completed ? "☑" : "☐");
      box.setAttribute("role", "img");
      box.setAttribute("aria-label", item.is_completed ? "done" : "open");
      line.append(box, make("span", "", item.name));
      return line;
    }),
  );
  const comments = task.comments.map((comment) => {
    const item = make("li");
    const by = make("p", "by");
    if (comment.author) by.append(make("span", "", comment.author));
    if (comment.created_at) by.append(ticking("ago", comment.created_at));
    if (by.children.length) item.append(by);
    const said = make("div", "prose");
    showProse(said, comment.text);
    item.append(said);
    return item;
  });
  $("task-comments").replaceChildren(...(comments.length ? comments : [make("li", "none", "No comments.")]));
  showRuns(runs);
}

function showWhy(why) {
  const parts = why ? [make("span", "", why.reason)] : []; // null: Prefect does not answer
  if (why?.until) parts.push(" ", ticking("due", why.until));
  $("task-why").replaceChildren(...parts);
}

function showRuns(runs) {
  const list = $("task-runs");
  if (runs === null) {
    list.replaceChildren(make("li", "none", "Prefect does not answer."));
    return;
  }
  const items = runs.map((run) => {
    const item = make("li");
    const what = make("span");
    const name = run.url ? outside(`${run.queue_name}: ${run.state}`, run.url) : make("span", "", `${run.queue_name}: ${run.state}`);
    what.append(name, make("span", "quiet", run.attempt > 1 ? ` · ${run.attempt} attempts` : ""));
    item.append(what);
    if (run.started_at) item.append(ticking("ago", run.started_at));
    return item;
  });
  list.replaceChildren(...(items.length ? items : [make("li", "none", "No agent has worked on this task.")]));
}
