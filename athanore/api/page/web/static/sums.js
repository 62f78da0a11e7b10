// Sums of time and money, in words.

export function worked(seconds) {
  const minutes = Math.round(seconds / 60);
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (minutes < 60) return `${minutes} min`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

// What some attempts have cost; "" if nobody knows.
export function money({ cost_usd: cost, estimated_usd: estimated }) {
  if (cost === null) return "";
  const digits = cost > 0 && cost < 0.01 ? 4 : 2;
  return `${estimated ? "about " : ""}$${cost.toFixed(digits)}`;
}

// What was done today, such as "today: 14 done, 2 given up, 1 h 12 min of agents, $3.40".
export function todayIn({ done, given_up: lost, total }) {
  const parts = [`${done} done`];
  if (lost) parts.push(`${lost} given up`);
  parts.push(`${worked(total.seconds)} of agents`);
  const cost = money(total);
  if (cost) parts.push(cost);
  if (total.unmeasured) parts.push(cost ? `${total.unmeasured} unmeasured` : "cost unmeasured");
  return `today: ${parts.join(", ")}`;
}
