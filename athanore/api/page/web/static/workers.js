// The workers: on which hosts agents run, and emptying one of them.
import { request } from "./calls.js";
import { ask, listDialog, say } from "./dialogs.js";
import { $, arrange, button, make, setText } from "./elements.js";
import { factsOf, stateOf } from "./fleet.js";
import { page } from "./state.js";
import { ticking } from "./times.js";

const READ_EVERY = 5000;

let dialog = null;
let opener = null;
let timer = 0;

export function startWorkers() {
  opener = button("", "small", open);
  opener.hidden = true;
  $("agents").after(opener);
  dialog = listDialog("workers", "Workers");
  dialog.addEventListener("close", () => clearTimeout(timer));
}

// Called with each new picture of the board, which says who is online.
export function showWorkers() {
  const count = page.board.workers.length;
  opener.hidden = (page.board.starting || !count) && !dialog.open;
  setText(opener, `${count} ${count === 1 ? "worker" : "workers"}`);
}

function open() {
  if (dialog.open) return;
  dialog.showModal();
  $("workers-title").focus();
  goOn();
}

async function goOn(options) {
  clearTimeout(timer);
  await read(options);
  if (dialog.open) timer = setTimeout(goOn, READ_EVERY, { quiet: true });
}

async function read(options) {
  if (document.hidden) return;
  try {
    show(await (await request("GET", "/workers", options)).json());
  } catch (error) {
    say(`The workers cannot be read: ${error.message}`, true);
  }
}

// Entries stay where they are, so that a button under the pointer or the focus is not replaced.
function show(workers) {
  const list = $("workers-list");
  const before = new Map([...list.children].map((element) => [element.dataset.name, element]));
  const entries = workers.map((worker) => {
    const said = JSON.stringify(worker);
    const known = before.get(worker.name);
    if (known?.dataset.said === said) return known;
    const focused = known?.contains(document.activeElement);
    const element = entryOf(worker, said);
    known?.replaceWith(element);
    if (focused) (element.querySelector("button") || $("workers-title")).focus();
    return element;
  });
  for (const element of before.values()) if (!entries.includes(element)) element.remove();
  arrange(list, entries);
}

function entryOf(worker, said) {
  const element = make("li", "inbox-entry");
  element.dataset.name = worker.name;
  element.dataset.said = said;
  element.append(make("h3", "", worker.name), make("p", `worker-state ${worker.state}`, stateOf(worker)));
  const facts = make("p", "quiet", factsOf(worker).join(" · "));
  if (worker.last_seen) facts.append(" · heard of ", ticking("ago", worker.last_seen));
  element.append(facts);
  if (worker.state === "lost") return element;
  const actions = make("div", "actions");
  const drained = worker.state === "draining" || worker.state === "drained";
  const action = drained ? button("Resume", "", () => resume(worker)) : button("Drain", "", () => drain(worker));
  action.setAttribute("aria-label", `${action.textContent} ${worker.name}`);
  actions.append(action);
  element.append(actions);
  return element;
}

async function drain(worker) {
  const yes = await ask({
    title: `Drain ${worker.name}?`,
    text: "It takes nothing new from now on; its agents work on.",
    yes: "Drain",
  });
  if (yes === null) return;
  await steer(worker, "drain", { by: "the board page" }, `${worker.name} takes nothing new.`);
}

const resume = (worker) => steer(worker, "resume", {}, `${worker.name} takes tasks again.`);

async function steer(worker, verb, body, done) {
  try {
    await request("POST", `/workers/${encodeURIComponent(worker.name)}/${verb}`, { body });
    say(done);
  } catch (error) {
    say(error.message, true);
  }
  await goOn();
}
