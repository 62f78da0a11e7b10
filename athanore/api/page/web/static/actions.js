// What a person can do with a task.
import { taskPath } from "./calls.js";
import { ask } from "./dialogs.js";
import { button, outside } from "./elements.js";
import { act } from "./looking.js";

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
