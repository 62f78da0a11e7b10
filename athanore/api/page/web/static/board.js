// The board page. It reads GET /board every moment and patches what has changed; what people and
// agents wrote is only ever set as text.
"use strict";
(() => {
  const LOOK_EVERY = 1500;
  const COSTS_EVERY = 60000;
  const LOOK_AGAIN = 4000; // after an error
  const MAX_LINES = 3000;
  const KEY = "athanore.api-key";

  const $ = (id) => document.getElementById(id);
  const columns = new Map(); // by queue name
  const cards = new Map(); // by task id
  let board = null;
  let etag = null;
  let clockSkew = 0; // the server's clock minus ours, in milliseconds
  let timer = 0;
  let looking = null; // the look that is under way
  let following = null; // the one after it
  let opened = null; // the task in the sheet

  // ---------------------------------------------------------------- small things

  function make(tag, className, text) {
    const element = document.createElement(tag);
    if (className) element.className = className;
    if (text !== undefined) element.textContent = text;
    return element;
  }

  function setText(element, text) {
    if (element.textContent !== text) element.textContent = text;
  }

  function button(text, className, action) {
    const element = make("button", `button ${className || ""}`.trim(), text);
    element.type = "button";
    element.addEventListener("click", async () => {
      element.disabled = true;
      try {
        await action(element);
      } finally {
        element.disabled = false;
      }
    });
    return element;
  }

  function outside(text, url) {
    const link = make("a", "", text);
    link.href = url;
    link.target = "_blank";
    link.rel = "noopener";
    return link;
  }

  const now = () => Date.now() + clockSkew;

  function clock(seconds) {
    const whole = Math.max(0, Math.floor(seconds));
    const two = (n) => String(n).padStart(2, "0");
    const hours = Math.floor(whole / 3600);
    const rest = `${Math.floor((whole % 3600) / 60)}:${two(whole % 60)}`;
    return hours ? `${hours}:${rest.padStart(5, "0")}` : rest;
  }

  function span(seconds) {
    const n = Math.round(seconds);
    if (n < 90) return `${n} s`;
    if (n < 5400) return `${Math.round(n / 60)} min`;
    return n < 129600 ? `${Math.round(n / 3600)} h` : `${Math.round(n / 86400)} days`;
  }

  const ago = (at) => {
    const seconds = (now() - Date.parse(at)) / 1000;
    return seconds < 5 ? "just now" : `${span(seconds)} ago`;
  };

  const moment = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

  // A time that goes on by itself: how long an agent works, when a retry is due.
  function ticking(kind, at) {
    const element = make("time", "clock");
    element.dateTime = at;
    element.title = moment.format(new Date(at));
    element.dataset.tick = kind;
    tick(element);
    return element;
  }

  function tick(element) {
    const seconds = (Date.parse(element.dateTime) - now()) / 1000;
    let text = clock(-seconds);
    if (element.dataset.tick === "due") text = seconds > 0.5 ? `in ${span(seconds)}` : "now";
    if (element.dataset.tick === "ago") text = ago(element.dateTime);
    setText(element, text);
  }

  setInterval(() => {
    if (!document.hidden) document.querySelectorAll("time[data-tick]").forEach(tick);
  }, 1000);

  function say(text, bad) {
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

  // ---------------------------------------------------------------- the API

  class Refusal extends Error {
    constructor(status, detail) {
      super(detail);
      this.status = status;
    }
  }

  async function request(method, path, options = {}) {
    const headers = { Accept: "application/json", ...options.headers };
    const key = sessionStorage.getItem(KEY);
    if (key) headers.Authorization = `Bearer ${key}`;
    if (options.body !== undefined) headers["Content-Type"] = "application/json";
    const response = await fetch(path, {
      method,
      headers,
      body: options.body === undefined ? undefined : JSON.stringify(options.body),
      signal: options.signal,
      cache: "no-store",
    });
    if (response.status === 401) {
      if (await askForKey(key)) return request(method, path, options);
    }
    if (!response.ok && response.status !== 304) {
      let detail = `The server answered ${response.status}.`;
      try {
        detail = (await response.json()).detail || detail;
      } catch {
        // not one of its own errors
      }
      throw new Refusal(response.status, detail);
    }
    return response;
  }

  const taskPath = (id, rest = "") => `/tasks/${encodeURIComponent(id)}${rest}`;

  async function act(path, body, done) {
    try {
      await request("POST", path, { body });
      say(done);
    } catch (error) {
      say(error.message, true);
    }
    await look();
    if (opened) loadTask(opened);
  }

  let asking = null;

  function askForKey(refused) {
    const current = sessionStorage.getItem(KEY);
    if (current && current !== refused) return Promise.resolve(true);
    if (!asking) {
      asking = ask({
        title: "This board is locked",
        text: "The operators' key opens it: ATHANORE_API_KEY of the server. It is kept in this tab until you close it.",
        label: "Key",
        yes: "Open",
        secret: true,
        required: true,
        error: refused ? "This key was not accepted." : "",
      }).then((key) => {
        asking = null;
        if (key) sessionStorage.setItem(KEY, key);
        return Boolean(key);
      });
    }
    return asking;
  }

  // Asks for a line of text; resolves with it, or with null.
  function ask({ title, text, label, yes, no, secret, required, danger, error }) {
    const dialog = $("ask");
    const input = $("ask-input");
    setText($("ask-title"), title);
    setText($("ask-text"), text);
    setText($("ask-label"), label);
    setText($("ask-yes"), yes);
    setText($("ask-no"), no || "Not now");
    setText($("ask-error"), error || "");
    $("ask-yes").classList.toggle("danger", Boolean(danger));
    input.type = secret ? "password" : "text";
    input.required = Boolean(required);
    input.value = "";
    if (dialog.open) dialog.close();
    dialog.showModal();
    input.focus();
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

  // ---------------------------------------------------------------- looking at the board

  function link(state, text) {
    $("link-state").dataset.state = state;
    setText($("link-text"), text);
  }

  // Looks now. While a look is under way, which may have read too early, all who wish for one share
  // the next: there is one look at a time.
  function look() {
    if (looking) {
      following ??= looking.then(look);
      return following;
    }
    looking = lookAndGoOn();
    return looking;
  }

  async function lookAndGoOn() {
    clearTimeout(timer);
    const pause = await lookOnce();
    looking = following = null;
    if (!document.hidden) timer = setTimeout(look, pause);
  }

  async function lookOnce() {
    try {
      const response = await request("GET", "/board", {
        headers: etag ? { "If-None-Match": etag } : {},
        signal: AbortSignal.timeout(30000),
      });
      const date = Date.parse(response.headers.get("date"));
      // Whole seconds, so only a real difference counts.
      if (date && Math.abs(date + 500 - now()) > 2000) clockSkew = date + 500 - Date.now();
      if (response.status !== 304) {
        const next = await response.json();
        etag = response.headers.get("etag");
        show(next);
      }
      link("live", "Live");
      return LOOK_EVERY;
    } catch (error) {
      if (error instanceof Refusal && error.status === 401) link("lost", "Locked");
      else link("lost", "No answer");
      $("board").setAttribute("aria-busy", "false");
      return LOOK_AGAIN;
    }
  }

  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) look();
  });
  setInterval(showCosts, COSTS_EVERY);

  // ---------------------------------------------------------------- showing the board

  function show(next) {
    const before = board;
    board = next;
    showBar();
    showNotices();
    const byQueue = new Map(next.queues.map((q) => [q.name, []]));
    for (const card of next.cards) byQueue.get(card.queue_name)?.push(card);
    const focused = document.activeElement;
    const moved = before ? placesOfMoved(next.cards) : [];
    showColumns(next.queues, byQueue);
    const there = new Set(next.cards.map((c) => c.id));
    for (const [id, card] of cards) {
      if (!there.has(id)) {
        card.element.remove();
        cards.delete(id);
      }
    }
    if (focused !== document.activeElement && focused?.isConnected) {
      focused.focus({ preventScroll: true });
    }
    slide(moved);
    applyFilter();
    if (before) announce(before, next);
    if (opened) showOpenedState();
    $("board").setAttribute("aria-busy", "false");
  }

  function showBar() {
    const { active_agents: active, max_concurrent_agents: limit } = board;
    $("agents").hidden = active === null;
    const slots = $("slots");
    const shown = limit !== null && limit <= 16 ? limit : 0;
    while (slots.children.length > shown) slots.lastChild.remove();
    while (slots.children.length < shown) slots.append(make("span", "slot"));
    [...slots.children].forEach((slot, i) => slot.classList.toggle("busy", i < active));
    const of = limit === null ? "" : ` of ${limit}`;
    const noun = limit === 1 || (limit === null && active === 1) ? "agent" : "agents";
    setText($("agents-text"), `${active}${of} ${noun} at work`);
    const dead = board.cards.filter((c) => c.dead_letter).length;
    $("dead-count").hidden = !dead;
    setText($("dead-count"), `${dead} given up`);
    document.title = `${active ? `(${active}) ` : ""}${board.app} · Athanore`;
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

  function showNotices() {
    const notices = [];
    if (board.board_error) notices.push(["bad", `The board cannot be read: ${board.board_error}`]);
    if (board.prefect_error) {
      notices.push(["bad", `${board.prefect_error} What agents do is not known meanwhile.`]);
    } else if (!board.workers.length) {
      notices.push(["", "No worker is online: no agent starts until one is."]);
    }
    const matters = board.needs_person;
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

  function showColumns(queues, byQueue) {
    const main = $("board");
    const names = queues.map((q) => q.name).join("\n");
    if (main.dataset.queues !== names) {
      main.dataset.queues = names;
      const wanted = new Set(queues.map((q) => q.name));
      for (const [name, column] of columns) {
        if (!wanted.has(name)) {
          column.element.remove();
          columns.delete(name);
        }
      }
      main.querySelector(".blank")?.remove();
      for (const queue of queues) {
        if (!columns.has(queue.name)) columns.set(queue.name, newColumn(queue.name));
        main.append(columns.get(queue.name).element);
      }
      if (!queues.length) main.append(make("p", "blank", "This board has no queues yet."));
      $("jumps").replaceChildren(...queues.map((q) => columns.get(q.name).jump));
    }
    for (const queue of queues) showColumn(columns.get(queue.name), queue, byQueue.get(queue.name));
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
    const route = queue.route;
    const paused = Boolean(route?.paused.length);
    column.count = wanted.length + queue.hidden;
    element.classList.toggle("paused", paused);
    const part = queue.hidden ? `${wanted.length} of ${column.count} shown` : "";
    const note = [columnNote(queue), part].filter(Boolean).join(" · ");
    setText(element.querySelector(".column-note"), note);
    element.querySelector(".column-head").title = route ? `Starts: ${route.agent}` : "";
    pause.hidden = !route?.deployed;
    setText(pause, paused ? "Resume" : "Pause");
    pause.setAttribute("aria-label", `${paused ? "Resume" : "Pause"} ${queue.name}`);
    setText(
      element.querySelector(".empty"),
      route ? "A task that is put here is given to an agent." : "Empty",
    );
    const own = new Set();
    for (const card of wanted) own.add(showCard(card));
    let at = list.firstElementChild;
    for (const item of own) {
      while (at && !own.has(at)) at = at.nextElementSibling;
      if (item === at) at = at.nextElementSibling;
      else place(list, item, at);
    }
  }

  // Keeps focus and animations where the browser can move an element.
  function place(list, item, before) {
    if (list.moveBefore && item.isConnected) list.moveBefore(item, before);
    else list.insertBefore(item, before);
  }

  function columnNote(queue) {
    if (!queue.route) {
      return { "in-progress": "Agents work here", "dead-letter": "Given up: for a person" }[queue.kind] || "";
    }
    if (board.prefect_error === null && !queue.route.deployed) {
      return "Not deployed: run athanore deploy";
    }
    if (queue.route.paused.length) {
      if (queue.route.pause_reason) return queue.route.pause_reason;
      return queue.route.paused.includes("agents") ? "Paused: no agent starts" : "Paused: not looked at";
    }
    return `Watched every ${span(queue.route.poll_interval)}`;
  }

  async function pauseOrResume(name, element) {
    const queue = board.queues.find((q) => q.name === name);
    const paused = Boolean(queue?.route?.paused.length);
    element.disabled = true;
    await act(
      `/routes/${encodeURIComponent(name)}/${paused ? "resume" : "pause"}`,
      {},
      paused ? `${name} goes on.` : `${name} is paused. Running agents finish.`,
    );
    element.disabled = false;
    element.focus();
  }

  function showCard(card) {
    const text = JSON.stringify(card);
    let known = cards.get(card.id);
    if (known?.text === text) return known.element;
    if (!known) {
      const element = $("card-template").content.firstElementChild.cloneNode(true);
      element.dataset.task = card.id;
      known = { element };
      cards.set(card.id, known);
      element.querySelector(".card-open").addEventListener("click", () => openTask(card.id));
    }
    const { element } = known;
    known.text = text;
    known.card = card;
    known.haystack = [card.id, card.name, ...card.labels, ...card.assignees].join("\n").toLowerCase();
    setText(element.querySelector(".card-name"), card.name);
    showLabels(element.querySelector(".labels"), card);
    element.classList.toggle("working", card.run?.phase === "working" || card.run?.phase === "stopping");
    element.classList.toggle("retrying", card.run?.phase === "retrying");
    element.classList.toggle("dead", Boolean(card.dead_letter));
    const state = element.querySelector(".card-state");
    const hadFocus = state.contains(document.activeElement);
    state.replaceChildren(...stateOf(card));
    if ((card.dead_letter || card.needs_person) && card.actions.includes("requeue")) {
      const requeue = button("Requeue", "", () => requeueTask(card));
      requeue.setAttribute("aria-label", `Requeue ${card.name}`);
      state.append(requeue);
    }
    if (hadFocus) element.querySelector(".card-open").focus({ preventScroll: true });
    return element;
  }

  function showLabels(list, card) {
    list.replaceChildren(
      ...card.labels.map((l) => make("li", "label", l)),
      ...card.assignees.map((a) => make("li", "label person", a)),
    );
  }

  function stateOf(card) {
    const { run, dead_letter: letter } = card;
    if (run) {
      const line = make("p", `phase ${run.phase}`);
      const attempt = run.max_attempts > 1 ? `attempt ${run.attempt}/${run.max_attempts}` : "";
      if (run.phase === "working" || run.phase === "stopping") {
        const dot = make("span", "pulse");
        dot.setAttribute("aria-hidden", "true");
        line.append(dot, make("strong", "", run.phase === "working" ? "At work" : "Stopping"));
        if (attempt) line.append(make("span", "", attempt));
        if (run.since) line.append(ticking("since", run.since));
        return run.last_line ? [line, make("p", "last-line", run.last_line)] : [line];
      }
      const retrying = run.phase === "retrying";
      const due = run.due && Date.parse(run.due) > now() + 500;
      const waits = retrying ? "Waits to retry" : "Waits for an agent";
      line.append(make("strong", "", due ? (retrying ? "Retries" : "Starts") : waits));
      if (due) line.append(ticking("due", run.due));
      return retrying && run.message ? [line, make("p", "reason", run.message)] : [line];
    }
    if (!letter) return card.needs_person ? [make("p", "reason", card.needs_person)] : [];
    const line = make("p", "phase dead");
    const tries = letter.attempts ? ` after ${letter.attempts} attempt${letter.attempts > 1 ? "s" : ""}` : "";
    line.append(make("strong", "", `Given up${tries}`));
    if (letter.since) line.append(ticking("ago", letter.since));
    return [line, make("p", "reason", letter.reason)];
  }

  // Where the cards are that are about to change their column, to let them slide from there.
  function placesOfMoved(next) {
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) return [];
    const moved = next.filter((c) => {
      const known = cards.get(c.id);
      return known && known.card.queue_name !== c.queue_name;
    });
    if (moved.length > 20) return [];
    return moved.map((c) => {
      const { element } = cards.get(c.id);
      return [element, element.getBoundingClientRect()];
    });
  }

  function slide(moved) {
    for (const [element, from] of moved) {
      const to = element.getBoundingClientRect();
      if (!to.width || !from.width) continue;
      element.animate(
        [{ transform: `translate(${from.x - to.x}px, ${from.y - to.y}px)`, opacity: 0.4 }, { transform: "none", opacity: 1 }],
        { duration: 260, easing: "cubic-bezier(.2,.7,.2,1)" },
      );
    }
  }

  function announce(before, next) {
    const dead = new Set(before.cards.filter((c) => c.dead_letter).map((c) => c.id));
    const fresh = next.cards.filter((c) => c.dead_letter && !dead.has(c.id));
    if (fresh.length) $("said").textContent = `Given up: ${fresh.map((c) => c.name).join(", ")}`;
  }

  // ---------------------------------------------------------------- filter and keys

  $("dead-count").addEventListener("click", () => {
    const first = board.cards.find((c) => c.dead_letter && !cards.get(c.id).element.hidden);
    if (!first) return;
    const { element } = cards.get(first.id);
    element.scrollIntoView({ block: "nearest", inline: "nearest" });
    element.querySelector(".card-open").focus();
  });

  function applyFilter() {
    const words = $("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const [, column] of columns) {
      let shown = 0;
      for (const element of column.list.children) {
        const known = cards.get(element.dataset.task);
        element.hidden = !words.every((w) => known.haystack.includes(w));
        shown += element.hidden ? 0 : 1;
      }
      const text = words.length ? `${shown} of ${column.count}` : String(column.count);
      setText(column.element.querySelector(".count"), text);
      setText(column.jump, `${column.element.querySelector(".column-name").textContent} ${text}`);
    }
  }

  $("filter").addEventListener("input", applyFilter);

  function cardBeside(element, key) {
    const visible = (list) => [...list.children].filter((c) => !c.hidden);
    const list = element.closest(".cards");
    const here = visible(list);
    const index = here.indexOf(element);
    if (key === "ArrowDown") return here[index + 1];
    if (key === "ArrowUp") return here[index - 1];
    const all = [...document.querySelectorAll(".cards")];
    const step = key === "ArrowRight" ? 1 : -1;
    for (let i = all.indexOf(list) + step; all[i]; i += step) {
      const there = visible(all[i]);
      if (there.length) return there[Math.min(index, there.length - 1)];
    }
    return undefined;
  }

  document.addEventListener("keydown", (event) => {
    if (document.querySelector("dialog[open]") || event.ctrlKey || event.metaKey || event.altKey) return;
    const target = event.target;
    if (event.key === "/" && !target.matches("input")) {
      event.preventDefault();
      $("filter").focus();
    } else if (event.key === "Escape" && target === $("filter")) {
      target.value = "";
      applyFilter();
    } else if (event.key.startsWith("Arrow") && target.matches(".card-open")) {
      const next = cardBeside(target.closest(".card"), event.key);
      if (!next) return;
      event.preventDefault();
      next.querySelector(".card-open").focus();
      next.scrollIntoView({ block: "nearest", inline: "nearest" });
    }
  });

  // ---------------------------------------------------------------- a task, opened

  const sheet = $("task");
  let stream = null;

  function openTask(id) {
    location.hash = `task/${encodeURIComponent(id)}`;
  }

  function followHash() {
    const found = /^#task\/(.+)$/.exec(location.hash);
    let id = null;
    try {
      id = found && decodeURIComponent(found[1]);
    } catch {
      // no address of ours
    }
    if (id && id !== opened) showTask(id);
    else if (!id && sheet.open) sheet.close();
  }

  addEventListener("hashchange", followHash);
  $("task-close").addEventListener("click", () => sheet.close());
  sheet.addEventListener("click", (event) => {
    if (event.target === sheet && event.clientX < sheet.getBoundingClientRect().left) sheet.close();
  });
  sheet.addEventListener("close", () => {
    opened = null;
    stream?.abort();
    stream = null;
    if (location.hash) history.replaceState(null, "", location.pathname);
  });

  function showTask(id) {
    opened = id;
    stream?.abort();
    for (const part of ["task-why", "task-description", "task-checklist", "task-comments", "task-runs", "transcript"]) {
      $(part).replaceChildren();
    }
    setText($("task-name"), cards.get(id)?.card.name || id);
    setText($("task-id"), `#${id}`);
    setText($("task-said"), "");
    showOpenedState();
    if (!sheet.open) sheet.showModal();
    sheet.scrollTop = 0;
    $("task-name").focus();
    loadTask(id);
    follow(id);
  }

  let openedText = "";

  function showOpenedState() {
    const card = cards.get(opened)?.card;
    const text = JSON.stringify(card) + opened;
    if (text === openedText) return;
    const changed = openedText !== "" && sheet.open;
    openedText = text;
    setText($("task-queue"), card ? card.queue_name : "");
    const actions = $("task-actions");
    const hadFocus = actions.contains(document.activeElement);
    $("task-state").replaceChildren(...(card ? stateOf(card) : []));
    showLabels($("task-labels"), card || { labels: [], assignees: [] });
    actions.replaceChildren(...(card ? actionsOf(card) : []));
    if (hadFocus && !actions.contains(document.activeElement)) $("task-name").focus();
    if (changed) loadTask(opened);
  }

  function actionsOf(card) {
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

  const requeueTask = (card) =>
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

  async function loadTask(id) {
    try {
      const [task, runs, why] = await Promise.all([
        request("GET", taskPath(id)).then((r) => r.json()),
        request("GET", taskPath(id, "/runs")).then((r) => r.json(), () => null),
        request("GET", taskPath(id, "/explanation")).then((r) => r.json(), () => null),
      ]);
      if (id !== opened) return;
      showDetails(task, runs);
      showWhy(why);
    } catch (error) {
      if (id === opened) {
        $("task-description").className = "prose none";
        setText($("task-description"), error.message);
      }
    }
  }

  function showDetails(task, runs) {
    setText($("task-name"), task.name);
    setText($("task-queue"), task.queue_name);
    $("task-description").className = task.description ? "prose" : "prose none";
    setText($("task-description"), task.description || "No description.");
    $("task-checklist").replaceChildren(
      ...task.tasks.map((item) => {
        const line = make("li");
        const box = make("span", "", item.is_completed ? "☑" : "☐");
        box.setAttribute("role", "img");
        box.setAttribute("aria-label", item.is_completed ? "done" : "open");
        line.append(box, make("span", "", item.name));
        return line;
      }),
    );
    const comments = task.comments.map((comment) => {
      const item = make("li");
      const by = make("p", "by");
      if (comment.author) by.append(make("span", "", comment.author));
      if (comment.created_at) by.append(ticking("ago", comment.created_at));
      if (by.children.length) item.append(by);
      item.append(make("p", "prose", comment.text));
      return item;
    });
    $("task-comments").replaceChildren(...(comments.length ? comments : [make("li", "none", "No comments.")]));
    showRuns(runs);
  }

  function showWhy(why) {
    const parts = why ? [make("span", "", why.reason)] : []; // null: Prefect does not answer
    if (why?.until) parts.push(" ", ticking("due", why.until));
    $("task-why").replaceChildren(...parts);
  }

  function showRuns(runs) {
    const list = $("task-runs");
    if (runs === null) {
      list.replaceChildren(make("li", "none", "Prefect does not answer."));
      return;
    }
    const items = runs.map((run) => {
      const item = make("li");
      const what = make("span");
      const name = run.url ? outside(`${run.queue_name}: ${run.state}`, run.url) : make("span", "", `${run.queue_name}: ${run.state}`);
      what.append(name, make("span", "quiet", run.attempt > 1 ? ` · ${run.attempt} attempts` : ""));
      item.append(what);
      if (run.started_at) item.append(ticking("ago", run.started_at));
      return item;
    });
    list.replaceChildren(...(items.length ? items : [make("li", "none", "No agent has worked on this task.")]));
  }

  // ---------------------------------------------------------------- the transcript, live

  async function follow(id) {
    const mine = new AbortController();
    stream = mine;
    const log = $("transcript");
    log.append(make("p", "none", "Nothing yet."));
    let last = null;
    while (!mine.signal.aborted) {
      try {
        const headers = { Accept: "text/event-stream" };
        if (last) headers["Last-Event-ID"] = last;
        const response = await request("GET", taskPath(id, "/events?follow=true"), {
          headers,
          signal: mine.signal,
        });
        setText($("transcript-state"), "Live");
        for await (const event of events(response.body)) {
          last = event.id || last;
          if (event.data && event.name !== "end") transcribe(log, JSON.parse(event.data));
        }
      } catch (error) {
        if (mine.signal.aborted) return;
        if (error instanceof Refusal && error.status === 404) {
          setText($("transcript-state"), "");
          return;
        }
      }
      setText($("transcript-state"), "Reconnecting");
      await new Promise((resolve) => setTimeout(resolve, 2000));
    }
  }

  // EventSource cannot send the key, so the stream is read by hand.
  async function* events(body) {
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const blocks = (rest + value).split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) {
        const event = { data: "" };
        for (const line of block.split("\n")) {
          if (line.startsWith("id: ")) event.id = line.slice(4);
          else if (line.startsWith("event: ")) event.name = line.slice(7);
          else if (line.startsWith("data: ")) event.data += line.slice(6);
        }
        yield event;
      }
    }
  }

  const REFRESHING = new Set(["comment", "moved", "claimed", "retrying", "finished", "failed", "cancelled", "dead-lettered"]);
  let refresh = 0;

  function transcribe(log, event) {
    const lines = linesOf(event);
    if (lines.length) {
      const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
      log.querySelector(".none")?.remove();
      log.append(...lines);
      while (log.children.length > MAX_LINES) log.firstElementChild.remove();
      if (atEnd) log.scrollTop = log.scrollHeight;
    }
    if (REFRESHING.has(event.kind)) {
      clearTimeout(refresh);
      refresh = setTimeout(() => opened && loadTask(opened), 300);
    }
  }

  const short = (value) => {
    const text = typeof value === "string" ? value : JSON.stringify(value ?? "");
    return text.length > 400 ? `${text.slice(0, 400)}…` : text;
  };

  function linesOf({ kind, data, at }) {
    const mark = (text, mood = "") => {
      const line = make("p", `mark-line ${mood}`.trim(), text);
      line.title = moment.format(new Date(at));
      return [line];
    };
    switch (kind) {
      case "claimed":
        return mark(`Attempt ${data.attempt}, taken from ${data.queue}`);
      case "output":
        return (data.lines || []).map((l) => make("p", l.stream === "stderr" ? "stderr" : "", l.text));
      case "tool-use":
        return [make("p", "tool", `→ ${data.name} ${short(data.input)}`)];
      case "tool-result":
        return [make("p", data.is_error ? "stderr" : "", short(data.text ?? data.content ?? ""))];
      case "cost": {
        const parts = [];
        if (data.cost_usd !== undefined && data.cost_usd !== null) parts.push(`$${Number(data.cost_usd).toFixed(4)}`);
        if (data.input_tokens) parts.push(`${data.input_tokens} tokens in`);
        if (data.output_tokens) parts.push(`${data.output_tokens} out`);
        return parts.length ? mark(parts.join(" · ")) : [];
      }
      case "progress":
        return mark(
          data.percent === undefined
            ? short(data.text ?? data.message ?? data)
            : [`${data.percent} %`, data.text].filter(Boolean).join(": "),
        );
      case "comment":
        return mark(`Comment: ${short(data.text)}`);
      case "moved":
        return mark(`Moved from ${data.from_queue} to ${data.to_queue}`);
      case "finished":
        return mark(data.message || "Finished", "good");
      case "failed":
        return mark(data.message || "Failed", "bad");
      case "dead-lettered": {
        const where = data.queue ? `, in ${data.queue}` : "";
        return mark(`Given up${where}: ${short(data.reason)}`, "bad");
      }
      case "retrying":
      case "cancelled":
        return mark(data.message || kind);
      default:
        return [];
    }
  }

  // ---------------------------------------------------------------- begin

  look().then(followHash).then(showCosts);
})();
