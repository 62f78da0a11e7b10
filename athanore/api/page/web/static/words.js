// What the transcript says of an event, as plain values.

const MOST = 400;

const inFull = (value) => (typeof value === "string" ? value : JSON.stringify(value ?? ""));

function cut(value) {
  const text = inFull(value);
  return text.length > MOST ? `${text.slice(0, MOST)}…` : text;
}

function used({ cost_usd: cost, input_tokens: read, output_tokens: written }) {
  const parts = [];
  if (cost !== undefined && cost !== null) parts.push(`$${Number(cost).toFixed(4)}`);
  if (read) parts.push(`${read} tokens in`);
  if (written) parts.push(`${written} out`);
  return parts.join(" · ");
}

// The lines of an event: {kind: "" | "stderr" | "tool" | "mark-line", mood, text, percent, replaces, styles}.
// Long values are cut, but not where they are asked for whole.
export function linesOf({ kind, data }, { whole = false } = {}) {
  const short = whole ? inFull : cut;
  const mark = (text, mood = "", more = {}) => (text ? [{ kind: "mark-line", mood, text, ...more }] : []);
  switch (kind) {
    case "output":
      return (data.lines || []).map(({ stream, text, styles }) => ({
        kind: stream === "stderr" ? "stderr" : "", text, ...(styles && { styles }),
      }));
    case "tool-use":
      return [{ kind: "tool", text: `→ ${data.name} ${short(data.input)}` }];
    case "tool-result":
      return [{ kind: data.is_error ? "stderr" : "", text: short(data.text ?? data.content ?? "") }];
    case "cost":
      return mark(used(data), "", { replaces: "cost" });
    case "progress": {
      if (data.percent === undefined || data.percent === null) return mark(short(data.text ?? data.message ?? data));
      const text = [`${data.percent} %`, data.text].filter(Boolean).join(": ");
      return mark(text, "", { percent: Number(data.percent), replaces: "progress" });
    }
    case "comment":
      return mark(`Comment: ${short(data.text)}`);
    case "asked":
      return mark(`Asks: ${data.question}`, "waits");
    case "answered":
      return mark(`Answer by ${data.by}: ${data.answer}`);
    case "expired":
      return mark(`Question ${data.question_id} has expired: ${data.reason}`, "bad");
    case "withdrawn":
      return mark(`Question ${data.question_id} was withdrawn: ${data.reason}`);
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

const ENDS = {
  finished: "finished",
  failed: "failed",
  retrying: "failed, to be repeated",
  cancelled: "cancelled",
  "dead-lettered": "given up",
};

// What the heading of a chapter says of how it ended; null while it goes on.
export function endOf({ kind }) {
  return ENDS[kind] ?? null;
}
