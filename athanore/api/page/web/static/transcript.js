// The transcript of a task, live.
import { Refusal, request, taskPath } from "./calls.js";
import { $, make, setText } from "./elements.js";
import { events } from "./stream.js";
import { moment } from "./times.js";

const MAX_LINES = 3000;

let stream = null;

export function stopFollowing() {
  stream?.abort();
  stream = null;
}

// Shows what the agents of a task do, until another task is followed.
export async function follow(id) {
  stopFollowing();
  const mine = (stream = new AbortController());
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
    refresh = setTimeout(() => document.dispatchEvent(new CustomEvent("task-changed")), 300);
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
