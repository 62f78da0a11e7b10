// Cards are moved by dragging them to another column. By keyboard: the key m on a card, or its sheet.
import { moveTask } from "./actions.js";
import { $ } from "./elements.js";
import { page } from "./state.js";

let dragged = null; // the id of the task

const columnAt = (event) => (dragged === null ? null : event.target.closest?.(".column"));

function mark(column) {
  for (const other of document.querySelectorAll(".column.target")) {
    if (other !== column) other.classList.remove("target");
  }
  column?.classList.add("target");
}

export function startDragging() {
  const board = $("board");
  board.addEventListener("dragstart", (event) => {
    const card = event.target.closest?.(".card");
    if (!card) return;
    dragged = card.dataset.task;
    event.dataTransfer.effectAllowed = "move";
    event.dataTransfer.setData("text/plain", page.cards.get(dragged).card.name);
    card.classList.add("dragged");
  });
  board.addEventListener("dragover", (event) => {
    const column = columnAt(event);
    mark(column);
    if (!column) return;
    event.preventDefault(); // it may be dropped here
    event.dataTransfer.dropEffect = "move";
  });
  board.addEventListener("drop", (event) => {
    const column = columnAt(event);
    if (!column) return;
    event.preventDefault();
    const known = page.cards.get(dragged);
    const to = [...page.columns].find(([, c]) => c.element === column)?.[0];
    if (known && to && to !== known.card.queue_name) moveTask(known.card, to);
  });
  document.addEventListener("dragend", () => {
    mark(null);
    for (const card of document.querySelectorAll(".card.dragged")) card.classList.remove("dragged");
    dragged = null;
  });
}
