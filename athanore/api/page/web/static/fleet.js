// What is known of a worker, in words.

const STATES = {
  ready: "takes tasks",
  full: "full",
  draining: "takes nothing new; its agents work on",
  drained: "takes nothing new, and is empty",
  lost: "lost",
};

export function stateOf({ state, says }) {
  const words = STATES[state] || state;
  return says ? `${words}: ${says}` : words;
}

export function factsOf({ host, labels, agents, limit, version, clock_offset: offset }) {
  const of = limit === null ? "" : ` of ${limit}`;
  const facts = [`${agents}${of} ${agents === 1 && limit === null ? "agent" : "agents"}`];
  if (host) facts.push(`host ${host}`);
  if (labels.length) facts.push(labels.join(", "));
  if (version) facts.push(`version ${version}`);
  if (Math.abs(offset) >= 2) facts.push(`clock ${Math.abs(offset).toFixed(0)} s ${offset > 0 ? "ahead" : "behind"}`);
  return facts;
}
