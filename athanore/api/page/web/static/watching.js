// What a column says of the routes that watch its queue, and which of them can be paused.
import { span } from "./times.js";

export const isPaused = (queue) => queue.routes.length > 0 && queue.routes.every((r) => r.paused.length > 0);

// The routes that can be paused or resumed, each with what is to be done.
export function switches(queue) {
  const there = queue.routes.filter((r) => r.deployed);
  return there.map(({ name, paused }) => ({ name, verb: paused.length ? "Resume" : "Pause" }));
}

// Says what is amiss with the routes of a queue, or how often they look at it.
export function watchNote(queue, isPrefectThere) {
  const routes = queue.routes;
  const alone = routes.length === 1;
  const notes = [];
  const missing = isPrefectThere ? routes.filter((r) => !r.deployed) : [];
  if (missing.length) {
    const which = alone ? "" : ` (${missing.map((r) => r.name).join(", ")})`;
    notes.push(`Not deployed${which}: run athanore deploy`);
  }
  for (const route of routes) {
    if (!route.paused.length || missing.includes(route)) continue;
    const part = route.paused.includes("agents") ? "Paused: no agent starts" : "Paused: not looked at";
    const said = route.pause_reason || part;
    notes.push(alone ? said : `${route.name}: ${said}`);
  }
  if (notes.length) return notes.join(" · ");
  return `Watched every ${span(Math.min(...routes.map((r) => r.poll_interval)))}`;
}
