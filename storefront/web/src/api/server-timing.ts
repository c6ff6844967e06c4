/** The steps of a request, as the `server-timing` header tells them. */

export interface Timing {
  name: string;
  /** Milliseconds. */
  duration: number;
  description?: string;
}

/** A step with its place in the whole. */
export interface Step extends Timing {
  /** Milliseconds since the request's head came. */
  start: number;
  /** 0: a part of the request; 1: a part of `infer`. */
  depth: 0 | 1;
}

/** The header's entries in their order; what is none is passed over. */
export function parseServerTiming(header: string | null): Timing[] {
  return split(header ?? "", ",").flatMap((entry) => {
    const [name, ...parameters] = split(entry, ";");
    if (!name || !/^[!#$%&'*+\-.^_`|~\w]+$/.test(name)) return [];
    const timing: Timing = { name, duration: 0 };
    for (const parameter of parameters) {
      const equals = parameter.indexOf("=");
      if (equals < 0) continue;
      const key = parameter.slice(0, equals).trim().toLowerCase();
      const value = unquoted(parameter.slice(equals + 1).trim());
      if (key === "dur" && Number.isFinite(Number(value))) timing.duration = Math.max(0, Number(value));
      if (key === "desc") timing.description = value;
    }
    return [timing];
  });
}

/** Parts between separators that stand outside of quotes, without spaces around. */
function split(text: string, separator: string): string[] {
  const parts: string[] = [];
  let quoted = false;
  let part = "";
  for (let at = 0; at < text.length; at++) {
    const sign = text[at] ?? "";
    if (sign === "\\" && quoted) {
      part += sign + (text[++at] ?? "");
    } else if (sign === separator && !quoted) {
      parts.push(part.trim());
      part = "";
    } else {
      if (sign === '"') quoted = !quoted;
      part += sign;
    }
  }
  parts.push(part.trim());
  return parts.filter((each) => each !== "");
}

const unquoted = (value: string) =>
  value.startsWith('"') ? value.slice(1, value.endsWith('"') ? -1 : undefined).replace(/\\(.)/g, "$1") : value;

/** The order in which a request goes through the model's steps; the header has no beginnings. */
const ORDER = ["customer", "embed", "retrieve", "rank", "llm", "explain"];
const OUTER = ["decode", "infer", "encode", "total"];

/** The steps one after another: `decode`, `infer` with its own steps inside, `encode` at the end of `total`. */
export function waterfall(timings: Timing[]): { total: number; steps: Step[] } {
  const of = (name: string) => timings.find((timing) => timing.name === name);
  const decode = of("decode");
  const infer = of("infer");
  const encode = of("encode");
  const place = (name: string) => (ORDER.includes(name) ? ORDER.indexOf(name) : ORDER.length);
  const inner = timings
    .filter((timing) => !OUTER.includes(timing.name))
    .sort((one, other) => place(one.name) - place(other.name));
  const innerTotal = inner.reduce((sum, timing) => sum + timing.duration, 0);
  const told = of("total")?.duration ?? 0;
  const parts = (decode?.duration ?? 0) + (infer?.duration ?? innerTotal) + (encode?.duration ?? 0);
  const total = Math.max(told, parts);
  const steps: Step[] = [];
  let at = 0;
  if (decode) steps.push({ ...decode, start: 0, depth: 0 });
  at += decode?.duration ?? 0;
  if (infer) steps.push({ ...infer, start: at, depth: 0 });
  let inside = at;
  for (const timing of inner) {
    steps.push({ ...timing, start: inside, depth: infer ? 1 : 0 });
    inside += timing.duration;
  }
  if (encode) steps.push({ ...encode, start: Math.max(0, total - encode.duration), depth: 0 });
  return { total, steps };
}
