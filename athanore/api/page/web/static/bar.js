// The bar at the top, and the notices below it.
import { request } from "./calls.js";
import { $, make, setText } from "./elements.js";
import { page } from "./state.js";

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
  const dead = page.board.cards.filter((c) => c.dead_letter).length;
  $("dead-count").hidden = !dead;
  setText($("dead-count"), `${dead} given up`);
  document.title = `${active ? `(${active}) ` : ""}${page.board.app} · Athanore`;
}

async function showCosts() {
  if (document.hidden) return;
  try {
    const { total } = await (await request("GET", "/costs?days=1")).json();
    const cost = total.cost_usd === null ? "Cost unmeasured" : `$${total.cost_usd.toFixed(2)}`;
    const about = total.estimated_usd ? "about " : "";
    const unmeasured = total.unmeasured && total.cost_usd !== null ? `, ${total.unmeasured} unmeasured` : "";
    $("costs").hidden = !total.attempts;
    setText($("costs"), `${about}${cost}${unmeasured} today`);
    $("costs").title = `${total.attempts} attempts at ${total.tasks} tasks; see athanore costs`;
  } catch {
    $("costs").hidden = true; // the notices tell why
  }
}

export function showNotices() {
  const notices = [];
  if (page.board.board_error) notices.push(["bad", `The board cannot be read: ${page.board.board_error}`]);
  if (page.board.prefect_error) {
    notices.push(["bad", `${page.board.prefect_error} What agents do is not known meanwhile.`]);
  } else if (!page.board.workers.length) {
    notices.push(["", "No worker is online: no agent starts until one is."]);
  }
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

export function startCosts() {
  setInterval(showCosts, COSTS_EVERY);
  showCosts();
}
