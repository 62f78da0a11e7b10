// What the page says, and what it asks.
import { $, button, make, setText } from "./elements.js";

export function say(text, bad) {
  $("said").textContent = text;
  $("task-said").textContent = text; // what lies behind an open dialog is not read out
  const toast = make("p", bad ? "toast bad" : "toast", text);
  const toasts = $("toasts");
  toasts.append(toast);
  if (toasts.matches(":popover-open")) toasts.hidePopover();
  toasts.showPopover(); // anew, so that it is above an open dialog
  setTimeout(() => {
    toast.remove();
    if (!toasts.children.length) toasts.hidePopover();
  }, bad ? 9000 : 5000);
}

let turn = Promise.resolve();

// Asks for a line of text, for one of several choices, or (without a label) only whether; resolves
// with what was given, or with null. Questions are asked one after the other: none takes the place
// of one that somebody is answering.
export function ask(question) {
  const answer = turn.then(() => show(question));
  turn = answer.catch(() => null);
  return answer;
}

function show({ title, text, label, yes, no, secret, required, danger, error, choices }) {
  const dialog = $("ask");
  const input = $(choices ? "ask-choice" : "ask-input");
  setText($("ask-title"), title);
  setText($("ask-text"), text);
  setText($("ask-label"), label || "");
  $("ask-label").htmlFor = input.id;
  for (const field of [$("ask-input"), $("ask-choice")]) field.hidden = field !== input || !label;
  setText($("ask-yes"), yes);
  setText($("ask-no"), no || "Not now");
  setText($("ask-error"), error || "");
  $("ask-yes").classList.toggle("danger", Boolean(danger));
  if (choices) {
    input.replaceChildren(...choices.map((choice) => make("option", "", choice)));
  } else {
    input.type = secret ? "password" : "text";
    input.required = Boolean(required);
    input.value = "";
  }
  dialog.showModal();
  (label ? input : $("ask-no")).focus();
  return new Promise((resolve) => {
    let answer = null;
    $("ask-form").onsubmit = (event) => {
      event.preventDefault();
      answer = input.value.trim();
      dialog.close();
    };
    $("ask-no").onclick = () => dialog.close();
    dialog.onclose = () => resolve(answer);
  });
}

// A dialog with a list, closed so far: its heading is focused when it opens, and its button closes it.
export function listDialog(id, heading) {
  const dialog = make("dialog", "box wide inbox");
  dialog.id = id;
  dialog.setAttribute("aria-labelledby", `${id}-title`);
  const title = make("h2", "", heading);
  title.id = `${id}-title`;
  title.tabIndex = -1;
  const list = make("ol", "inbox-list");
  list.id = `${id}-list`;
  const actions = make("div", "actions");
  actions.append(button("Close", "", () => dialog.close()));
  dialog.append(title, list, actions);
  document.body.append(dialog);
  return dialog;
}
