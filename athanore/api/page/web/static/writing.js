// What people write: new tasks, and comments.
import { request, taskPath } from "./calls.js";
import { say } from "./dialogs.js";
import { $, make, setText } from "./elements.js";
import { refresh } from "./looking.js";
import { page } from "./state.js";
import { isPaused } from "./watching.js";

// A key for a request that may be sent again without being done again.
function onceKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

let key = "";

// Opens the composer of a new task.
export function compose(queue) {
  if (!page.board || $("composer").open) return;
  const names = page.board.queues.map((q) => q.name);
  const chosen = queue || page.board.queues.find((q) => q.route)?.name || names[0];
  $("composer-queue").replaceChildren(...names.map((name) => make("option", "", name)));
  $("composer-queue").value = chosen;
  setText($("composer-error"), "");
  key = onceKey();
  showHint();
  $("composer").showModal();
  $("composer-name").focus();
}

function showHint() {
  const queue = page.board.queues.find((q) => q.name === $("composer-queue").value);
  let hint = "No route watches this queue: the task waits here for a person.";
  if (queue?.route) hint = "An agent starts on it as soon as one is free.";
  if (queue?.routes.some((r) => r.paused.length)) hint = "A route of this queue is paused: the task may wait.";
  if (queue && isPaused(queue)) hint = "The route of this queue is paused: the task waits.";
  setText($("composer-hint"), hint);
}

async function create(event) {
  event.preventDefault();
  const body = {
    queue_name: $("composer-queue").value,
    name: $("composer-name").value.trim(),
    description: $("composer-description").value,
  };
  $("composer-yes").disabled = true;
  try {
    const headers = { "Idempotency-Key": key };
    const task = await (await request("POST", "/tasks", { body, headers })).json();
    $("composer-form").reset();
    $("composer").close();
    say(`“${task.name}” is in ${task.queue_name}.`);
    page.wanted = task.id;
    await refresh();
  } catch (error) {
    setText($("composer-error"), error.message);
  } finally {
    $("composer-yes").disabled = false;
  }
}

const drafts = new Map(); // by task id, a comment that is not posted yet: {text, key}

// Shows the comment that somebody has begun on a task.
export function showDraft(id) {
  $("comment-text").value = drafts.get(id)?.text || "";
}

function keepDraft() {
  drafts.set(page.opened, { text: $("comment-text").value, key: onceKey() });
}

async function comment(event) {
  event.preventDefault();
  const id = page.opened;
  const draft = drafts.get(id);
  const text = draft?.text.trim();
  if (!text) return;
  $("comment-yes").disabled = true;
  try {
    const headers = { "Idempotency-Key": draft.key };
    await request("POST", taskPath(id, "/comments"), { body: { comment: text }, headers });
    if (drafts.get(id)?.text.trim() === text) drafts.delete(id); // else somebody has written on
    if (page.opened === id) showDraft(id);
    say("The comment is posted.");
    await refresh();
  } catch (error) {
    say(error.message, true);
  } finally {
    $("comment-yes").disabled = false;
  }
}

// Ctrl or Cmd with Enter sends a form from its text.
function sendByKey(event) {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) event.target.form.requestSubmit();
}

export function startWriting() {
  $("new-task").addEventListener("click", () => compose());
  $("composer-form").addEventListener("submit", create);
  $("composer-no").addEventListener("click", () => $("composer").close());
  $("composer-queue").addEventListener("change", showHint);
  $("comment-form").addEventListener("submit", comment);
  $("comment-text").addEventListener("input", keepDraft);
  $("composer-form").addEventListener("input", () => (key = onceKey()));
  for (const field of ["composer-description", "comment-text"]) $(field).addEventListener("keydown", sendByKey);
}
