// What a person can do with a task.
import { taskPath } from "./calls.js";
import { ask } from "./dialogs.js";
import { button, outside } from "./elements.js";
import { act } from "./looking.js";
import { page } from "./state.js";

const isServed = (queue) => queue.routes.some((r) => r.deployed);

const queueNames = (fitting) => page.board.queues.filter(fitting).map((q) => q.name);

export function actionsOf(card) {
  const found = [];
  if (card.actions.includes("requeue")) {
    found.push(button("Requeue", "primary", () => requeueTask(card)));
  }
  if (card.actions.includes("dispatch")) {
    found.push(
      button("Dispatch now", "primary", () =>
        act(taskPath(card.id, "/dispatch"), {}, `“${card.name}” is dispatched.`)),
    );
  }
  if (mayRunAgain(card)) found.push(button("Run again…", "", () => runAgain(card)));
  found.push(button("Move…", "", () => moveTask(card)));
  if (card.actions.includes("cancel")) {
    const word = card.run.phase === "working" ? "Stop the agent" : "Cancel the run";
    found.push(button(`${word}…`, "danger", () => cancelTask(card, word)));
  }
  const url = card.run?.url || card.dead_letter?.url;
  if (url) {
    const open = outside("Run in Prefect", url);
    open.className = "button link";
    found.push(open);
  }
  return found;
}

export const requeueTask = (card) =>
  act(taskPath(card.id, "/requeue"), {}, `“${card.name}” starts again, with all its attempts.`);

// Whether a task is at rest, in a queue that no route watches, and there is a route for it.
function mayRunAgain(card) {
  if (card.run || card.actions.length || page.board.prefect_error) return false;
  return queueNames(isServed).length > 0;
}

async function runAgain(card) {
  const queue = await ask({
    title: "Run again?",
    text: `“${card.name}” goes to the queue, and an agent starts on it with all attempts. It reads the comments.`,
    label: "Queue",
    yes: "Run again",
    choices: queueNames(isServed),
  });
  if (queue === null) return;
  await act(taskPath(card.id, "/requeue"), { queue_name: queue }, `“${card.name}” starts again in ${queue}.`);
}

// Moves a task; asks where to if that is not said, and whether if an agent would be stopped.
export async function moveTask(card, to) {
  const worked = card.run && ["working", "stopping"].includes(card.run.phase);
  const stops = worked ? "The agent that works on it is stopped." : "";
  let target = to;
  if (!target) {
    target = await ask({
      title: "Move to another queue",
      text: `“${card.name}” is in ${card.queue_name}. ${stops}`.trim(),
      label: "To",
      yes: "Move",
      danger: worked,
      choices: queueNames((q) => q.name !== card.queue_name),
    });
  } else if (worked) {
    const sure = await ask({
      title: `Move it to ${to}?`,
      text: `“${card.name}”: ${stops}`,
      yes: "Move",
      no: "Let it go on",
      danger: true,
    });
    if (sure === null) return;
  }
  if (!target || target === card.queue_name) return;
  await act(taskPath(card.id, "/move"), { target_queue: target }, `“${card.name}” is in ${target}.`);
}

async function cancelTask(card, word) {
  const reason = await ask({
    title: `${word}?`,
    text: `“${card.name}”: the run is cancelled, and the task goes where its route says.`,
    label: "Why? (may be left empty)",
    yes: word,
    no: "Let it go on",
    danger: true,
  });
  if (reason === null) return;
  await act(taskPath(card.id, "/cancel"), reason ? { reason } : {}, `“${card.name}” is being cancelled.`);
}
