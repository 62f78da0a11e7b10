// The columns: the queues of the board.
import { showCard } from "./cards.js";
import { ask } from "./dialogs.js";
import { $, arrange, make, setText } from "./elements.js";
import { act } from "./looking.js";
import { page } from "./state.js";
import { isPaused, switches, watchNote } from "./watching.js";
import { compose } from "./writing.js";

export function showColumns(queues, byQueue) {
  const main = $("board");
  const names = queues.map((q) => q.name).join("\n");
  if (main.dataset.queues !== names) {
    main.dataset.queues = names;
    const wanted = new Set(queues.map((q) => q.name));
    for (const [name, column] of page.columns) {
      if (!wanted.has(name)) {
        column.element.remove();
        page.columns.delete(name);
      }
    }
    main.querySelector(".blank")?.remove();
    for (const queue of queues) {
      if (!page.columns.has(queue.name)) page.columns.set(queue.name, newColumn(queue.name));
    }
    arrange(main, queues.map((q) => page.columns.get(q.name).element));
    if (!queues.length) main.append(make("p", "blank", "This board has no queues yet."));
    $("jumps").replaceChildren(...queues.map((q) => page.columns.get(q.name).jump));
  }
  for (const queue of queues) showColumn(page.columns.get(queue.name), queue, byQueue.get(queue.name));
}

let columnNumber = 0;

function newColumn(name) {
  const element = $("column-template").content.firstElementChild.cloneNode(true);
  element.id = `queue-${(columnNumber += 1)}`;
  const heading = element.querySelector("h2");
  heading.id = `${element.id}-name`;
  element.setAttribute("aria-labelledby", heading.id);
  setText(element.querySelector(".column-name"), name);
  const list = element.querySelector(".cards");
  list.setAttribute("aria-label", `Tasks in ${name}`);
  const pause = element.querySelector(".pause");
  pause.addEventListener("click", () => pauseOrResume(name, pause));
  const add = element.querySelector(".add");
  add.setAttribute("aria-label", `New task in ${name}`);
  add.addEventListener("click", () => compose(name));
  const jump = make("a");
  jump.href = `#${element.id}`;
  jump.addEventListener("click", (event) => {
    event.preventDefault();
    element.scrollIntoView({ inline: "start", block: "nearest" });
  });
  return { element, list, pause, jump, count: 0 };
}

function showColumn(column, queue, wanted) {
  const { element, list, pause } = column;
  const paused = isPaused(queue);
  column.count = wanted.length + queue.hidden;
  element.classList.toggle("paused", paused);
  const part = queue.hidden ? `${wanted.length} of ${column.count} shown` : "";
  const note = [columnNote(queue), part].filter(Boolean).join(" · ");
  setText(element.querySelector(".column-note"), note);
  element.querySelector(".column-head").title = queue.route
    ? `Starts: ${queue.routes.map((r) => r.agent).join(", ")}`
    : "";
  const found = switches(queue);
  pause.hidden = !found.length;
  const verb = found.every((s) => s.verb === "Resume") ? "Resume" : "Pause";
  setText(pause, found.length > 1 ? `${verb}…` : verb);
  pause.setAttribute("aria-label", `${verb} ${queue.name}`);
  setText(
    element.querySelector(".empty"),
    queue.route ? "A task that is put here is given to an agent." : "Empty",
  );
  const own = new Set();
  for (const card of wanted) own.add(showCard(card));
  arrange(list, own);
}

function columnNote(queue) {
  if (!queue.route) {
    return { "in-progress": "Agents work here", "dead-letter": "Given up: for a person" }[queue.kind] || "";
  }
  return watchNote(queue, page.board.prefect_error === null);
}

async function pauseOrResume(name, element) {
  const queue = page.board.queues.find((q) => q.name === name);
  const found = queue ? switches(queue) : [];
  let wanted = found[0];
  if (found.length > 1) {
    const choices = found.map((s) => `${s.verb} ${s.name}`);
    const text = `${found.length} routes watch ${name}. Running agents of a paused one finish.`;
    const chosen = await ask({ title: "Pause or resume a route", text, label: "Route", yes: "Do it", choices });
    wanted = found[choices.indexOf(chosen)];
  }
  if (!wanted) return;
  const said = found.length > 1 ? wanted.name : name;
  element.disabled = true;
  await act(
    `/routes/${encodeURIComponent(wanted.name)}/${wanted.verb.toLowerCase()}`,
    {},
    wanted.verb === "Resume" ? `${said} goes on.` : `${said} is paused. Running agents finish.`,
  );
  element.disabled = false;
  element.focus();
}
