// The board page. It reads GET /board every moment and patches what has changed; what people and
// agents wrote is only ever set as text.
import { costsSoon, showBar, showCosts, showNotices, startCosts } from "./bar.js";
import { placesOfMoved, slide } from "./cards.js";
import { showColumns } from "./columns.js";
import { startDragging } from "./dragging.js";
import { $ } from "./elements.js";
import { applyFilter, startFilter } from "./filter.js";
import { showInbox, startInbox } from "./inbox.js";
import { startLooking } from "./looking.js";
import { page } from "./state.js";
import { followHash, showOpenedState, startTasks } from "./task.js";
import { startClocks } from "./times.js";
import { startTranscript } from "./transcript.js";
import { showWorkers, startWorkers } from "./workers.js";
import { startWriting } from "./writing.js";

function show(next) {
  const before = page.board;
  page.board = next;
  showBar();
  showNotices();
  showInbox();
  showWorkers();
  const byQueue = new Map(next.queues.map((q) => [q.name, []]));
  for (const card of next.cards) byQueue.get(card.queue_name)?.push(card);
  const focused = document.activeElement;
  const moved = before ? placesOfMoved(next.cards) : [];
  showColumns(next.queues, byQueue);
  const there = new Set(next.cards.map((c) => c.id));
  for (const [id, card] of page.cards) {
    if (!there.has(id)) {
      card.element.remove();
      page.cards.delete(id);
    }
  }
  if (focused !== document.activeElement && focused?.isConnected) {
    focused.focus({ preventScroll: true });
  }
  slide(moved);
  applyFilter();
  focusWanted();
  if (before) announce(before, next);
  if (before && working(before) > working(next)) costsSoon();
  if (page.opened) showOpenedState();
  if (before?.starting && !next.starting) begun();
  $("board").setAttribute("aria-busy", "false");
}

// What could not be read while the app was starting.
function begun() {
  showCosts();
  document.dispatchEvent(new CustomEvent("task-changed"));
}

function focusWanted() {
  const card = page.cards.get(page.wanted);
  if (!card) return;
  page.wanted = null;
  if (!document.querySelector("dialog[open]")) card.element.querySelector(".card-open").focus();
}

const working = (board) => board.cards.filter((c) => c.run?.phase === "working").length;

function announce(before, next) {
  const dead = new Set(before.cards.filter((c) => c.dead_letter).map((c) => c.id));
  const fresh = next.cards.filter((c) => c.dead_letter && !dead.has(c.id));
  if (fresh.length) $("said").textContent = `Given up: ${fresh.map((c) => c.name).join(", ")}`;
}

startInbox();
startWorkers();
startClocks();
startFilter();
startTasks();
startWriting();
startTranscript();
startDragging();
startLooking(show).then(followHash).then(startCosts);
