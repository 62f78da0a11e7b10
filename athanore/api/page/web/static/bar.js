// The bar at the top, and the notices below it.
import { request } from "./calls.js";
import { showTaken } from "./cards.js";
import { $, make, setText } from "./elements.js";
import { page } from "./state.js";
import { todayIn } from "./sums.js";

const COSTS_EVERY = 60000;

export function showBar() {
  const { active_agents: active, max_concurrent_agents: limit } = page.board;
  $("agents").hidden = active === null;
  const slots = $("slots");
  const shown = limit !== null && limit <= 16 ? limit : 0;
  while (slots.children.length > shown) slots.lastChild.remove();
  while (slots.children.length < shown) slots.append(make("span", "slot"));
  [...slots.children].forEach((slot, i) => slot.classList.toggle("busy", i < active));
  const of = limit === null ? "" : ` of ${limit}`;
  const noun = limit === 1 || (limit === null && active === 1) ? "agent" : "agents";
  setText($("agents-text"), `${active}${of} ${noun} at work`);
  const { ui_url: ui } = page.board;
  $("prefect-link").hidden = !ui;
  if (ui) $("prefect-link").href = runsIn(ui, page.board.app);
  const dead = page.board.cards.filter((c) => c.dead_letter).length;
  $("dead-count").hidden = !dead;
  setText($("dead-count"), `${dead} given up`);
  document.title = `${active ? `(${active}) ` : ""}${page.board.app} · Athanore`;
}

// The runs of agents in Prefect's UI, which opens on polls else.
function runsIn(ui, app) {
  return `${ui}/runs?tag=agent-run&tag=${encodeURIComponent(`app:${app}`)}`;
}

// What was done today, and on the cards what each task has taken. It is asked for seldom, and soon
// after a run has ended.
export async function showCosts() {
  if (document.hidden || page.board?.starting) return;
  try {
    const report = await (await request("GET", "/costs?by=task&days=7", { quiet: true })).json();
    page.taken = new Map(report.rows.map((row) => [row.key, row]));
    for (const { card, element } of page.cards.values()) showTaken(element, card);
    const today = await (await request("GET", "/costs?by=route&days=1", { quiet: true })).json();
    setText($("costs"), todayIn(today));
    $("costs").hidden = !today.total.attempts;
    $("costs").title = `${today.total.attempts} attempts at ${today.total.tasks} tasks today; see athanore costs`;
  } catch {
    $("costs").hidden = true; // the notices tell why
  }
}

export function showNotices() {
  const notices = [];
  if (page.board.starting) notices.push(["", "Prefect is starting; agents begin as soon as it is there."]);
  if (page.board.board_error) notices.push(["bad", `The board cannot be read: ${page.board.board_error}`]);
  if (page.board.prefect_error) {
    notices.push(["bad", `${page.board.prefect_error} What agents do is not known meanwhile.`]);
  } else if (!page.board.starting && !page.board.workers.length) {
    notices.push(["", "No worker is online: no agent starts until one is."]);
  }
  for (const limit of page.board.provider_limits) notices.push(["", limit.says]);
  const matters = page.board.needs_person;
  const wanted = JSON.stringify([notices, matters]);
  const element = $("notices");
  if (element.dataset.shown === wanted) return;
  element.dataset.shown = wanted;
  const open = element.querySelector("details")?.open;
  element.replaceChildren(...notices.map(([kind, text]) => make("p", `notice ${kind}`, text)));
  if (matters.length) element.append(needsPerson(matters, open));
}

function needsPerson(matters, open) {
  const details = make("details", "notice needs-person");
  details.open = Boolean(open);
  const head = matters.length === 1 ? "1 thing needs a person" : `${matters.length} things need a person`;
  const list = make("ul");
  for (const matter of matters) {
    const item = make("li", "", matter.says);
    item.append(make("code", "mend", matter.mend));
    list.append(item);
  }
  details.append(make("summary", "", head), list);
  return details;
}

let soon = 0;

export function costsSoon() {
  clearTimeout(soon);
  soon = setTimeout(showCosts, 16_000); // the server's answer may be 15 s old
}

export function startCosts() {
  setInterval(showCosts, COSTS_EVERY);
  showCosts();
}
