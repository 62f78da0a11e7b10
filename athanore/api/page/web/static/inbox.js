// The inbox: what agents ask people, each with a form to answer it.
import { request } from "./calls.js";
import { ask, listDialog, say } from "./dialogs.js";
import { $, arrange, button, make, setText } from "./elements.js";
import { page } from "./state.js";
import { moment } from "./times.js";

let dialog = null;
let opener = null;
let known = ""; // what the board said of questions when they were read last
let waiting = []; // the approvals that are shown
const entries = new Map(); // by the question's id: {element, text}

export function startInbox() {
  opener = make("button", "inbox-count");
  opener.type = "button";
  opener.hidden = true;
  opener.setAttribute("aria-keyshortcuts", "i");
  opener.title = "What agents ask (i)";
  opener.addEventListener("click", open);
  $("dead-count").before(opener);
  dialog = listDialog("inbox", "Questions of agents");
  const none = make("p", "none", "No agent waits for an answer.");
  none.id = "inbox-none";
  $("inbox-list").after(none);
  const all = button("", "", approveAll);
  all.id = "inbox-all";
  all.hidden = true;
  $("inbox-title").after(all);
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest?.("input, textarea, select, dialog");
    if (event.key !== "i" || typing || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    open();
  });
}

function open() {
  if (dialog.open) return;
  dialog.showModal();
  $("inbox-title").focus();
  read();
}

// Called with each new picture of the board, which says whether anything is asked.
export function showInbox() {
  const asked = page.board.needs_person.filter((m) => m.kind === "question");
  opener.hidden = !asked.length && !dialog.open;
  setText(opener, `${asked.length} ${asked.length === 1 ? "question" : "questions"}`);
  const now = JSON.stringify(asked);
  if (now === known) return;
  known = now;
  if (dialog.open) read();
}

async function read() {
  try {
    show(await (await request("GET", "/questions")).json());
  } catch (error) {
    say(`The questions cannot be read: ${error.message}`, true);
  }
}

function show(questions) {
  const there = new Set(questions.map((q) => q.id));
  for (const [id, entry] of entries) {
    if (there.has(id)) continue;
    entry.element.remove();
    entries.delete(id);
  }
  for (const question of questions) {
    // What somebody is typing stays as it is.
    if (!entries.has(question.id)) entries.set(question.id, { element: entryOf(question) });
  }
  arrange($("inbox-list"), questions.map((q) => entries.get(q.id).element));
  $("inbox-none").hidden = questions.length > 0;
  waiting = questions.filter((q) => q.is_approval);
  $("inbox-all").hidden = waiting.length < 2;
  setText($("inbox-all"), `Approve all ${waiting.length}`);
}

const nameOf = (question) => page.cards.get(question.task_id)?.card.name || `Task ${question.task_id}`;

// Those that are shown when it is asked for, and none that comes meanwhile.
async function approveAll() {
  const those = waiting;
  const answer = await ask({
    title: `Approve ${those.length} tasks?`,
    text: those.map((q) => `“${nameOf(q)}”`).join(", "),
    yes: `Approve all ${those.length}`,
  });
  if (answer === null) return;
  const refused = [];
  for (const question of those) {
    try {
      const path = `/tasks/${encodeURIComponent(question.task_id)}/approve`;
      await request("POST", path, { body: { question: question.id, by: "the board page" } });
    } catch (refusal) {
      refused.push(`“${nameOf(question)}”: ${refusal.message}`);
    }
  }
  say(refused.length ? refused.join(" ") : `${those.length} tasks are approved.`, refused.length > 0);
  await read();
  $("inbox-title").focus();
}

function entryOf(question) {
  const element = make("li", "inbox-entry");
  const link = make("a", "", nameOf(question));
  link.href = `#task/${encodeURIComponent(question.task_id)}`;
  link.addEventListener("click", () => dialog.close());
  const head = make("h3");
  head.id = `question-${question.id}`;
  head.append(link);
  const when = make("p", "quiet", `asked ${moment.format(new Date(question.asked_at))}`);
  if (question.expires_at) {
    const then = question.default === null ? "the task is given up" : `“${question.default}” counts`;
    when.append(`; after ${moment.format(new Date(question.expires_at))} ${then}`);
  }
  const text = make("p", "inbox-question", question.question);
  text.id = `question-text-${question.id}`;
  element.append(head, when, text, formOf(question));
  return element;
}

function formOf(question) {
  const form = make("form", "inbox-form");
  form.setAttribute("aria-labelledby", `question-text-${question.id}`);
  const error = make("p", "error");
  error.setAttribute("role", "alert");
  const of = `/questions/${encodeURIComponent(question.id)}`;
  const send = async (answer) => order(`${of}/answer`, { answer });
  const order = async (path, body) => {
    for (const control of form.elements) control.disabled = true;
    try {
      await request("POST", path, { body: { ...body, by: "the board page" } });
      say("Answered.");
      await read();
      if (!dialog.contains(document.activeElement)) $("inbox-title").focus();
    } catch (refusal) {
      setText(error, refusal.message);
      for (const control of form.elements) control.disabled = false;
    }
  };
  if (question.is_approval) {
    const task = `/tasks/${encodeURIComponent(question.task_id)}`;
    const label = make("label", "", "If not, why (optional)");
    const reason = make("textarea");
    reason.id = `reason-${question.id}`;
    reason.rows = 2;
    reason.maxLength = 4000;
    label.htmlFor = reason.id;
    const choices = make("div", "actions");
    choices.append(
      button("Approve", "primary", () => order(`${task}/approve`, { question: question.id })),
      button("Reject", "", () =>
        order(`${task}/reject`, { question: question.id, reason: reason.value }),
      ),
    );
    form.append(label, reason, error, choices);
    form.addEventListener("submit", (event) => event.preventDefault());
    return form;
  }
  if (question.choices.length) {
    const choices = make("div", "actions choices");
    choices.append(...question.choices.map((c) => button(c, "", () => send(c))));
    form.append(choices, error);
    form.addEventListener("submit", (event) => event.preventDefault());
    return form;
  }
  const label = make("label", "", question.answer_schema ? "Your answer, as JSON" : "Your answer");
  const field = make("textarea");
  field.id = `answer-${question.id}`;
  field.rows = 3;
  field.required = true;
  field.maxLength = 4000;
  label.htmlFor = field.id;
  form.append(label, field);
  if (question.answer_schema) {
    form.append(make("pre", "inbox-schema", JSON.stringify(question.answer_schema, null, 1)));
  }
  const yes = make("button", "button primary", "Answer");
  yes.type = "submit";
  const actions = make("div", "actions");
  actions.append(yes);
  form.append(error, actions);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send(field.value);
  });
  return form;
}
