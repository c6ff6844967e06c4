/** Asking the stylist: an outfit that comes piece by piece. */
import { ask, completed, Failure, failureOf, posting } from "../api/client";
import type { Gender, Profile, StylistDone, StylistItem } from "../api/shapes";
import { serverEvents } from "../api/sse";

export interface Wish {
  request: string;
  gender: Gender;
  customer_id?: string;
  transaction_date?: string;
  k?: number;
}

export interface Listener {
  profile(profile: Profile | undefined, gender: string | undefined): void;
  item(item: StylistItem): void;
  summary(summary: string): void;
  done(done: StylistDone): void;
}

/** The longest silence, in ms: a small language model on a small machine thinks before it speaks. */
const SILENCE = 90_000;

/**
 * Tells what comes until the stylist is done. Fails as any question does, or with what the stylist says in an `error` event;
 * what came before stands.
 */
export async function consult(wish: Wish, to: Listener, signal: AbortSignal): Promise<void> {
  const silence = new AbortController();
  let timer: ReturnType<typeof setTimeout> | undefined;
  const heard = () => {
    clearTimeout(timer);
    timer = setTimeout(() => silence.abort(new DOMException("silence", "TimeoutError")), SILENCE);
  };
  heard();
  try {
    const wanted = AbortSignal.any([signal, silence.signal]);
    const response = await ask("/api/stylist", posting(wish), { signal: wanted, patience: 10 * SILENCE });
    if (!response.body) throw new Failure("The stylist said nothing.", "unreadable", 502);
    const pieces = response.body.pipeThrough(
      new TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>>({
        transform(piece, controller) {
          heard();
          controller.enqueue(piece);
        },
      }),
    );
    for await (const { event, data } of serverEvents(pieces)) if (told(event, data, to)) return;
    throw new Failure("The stylist broke off.", "unreadable", 502);
  } catch (thrown) {
    throw failureOf(thrown);
  } finally {
    clearTimeout(timer);
  }
}

/** Tells one event; whether it was the last. Events that nobody has heard of are passed over. */
function told(event: string, data: string, to: Listener): boolean {
  const value = parsed(data);
  if (event === "profile") to.profile(value.profile as Profile | undefined, value.gender as string | undefined);
  else if (event === "item") {
    const item = value as unknown as StylistItem;
    to.item({ ...item, details: completed(item.details ?? {}) });
  } else if (event === "summary") to.summary(String(value.summary ?? ""));
  else if (event === "error")
    throw new Failure(String(value.error ?? "The stylist failed."), String(value.code ?? "internal"), 502);
  else if (event === "done") {
    to.done(value as StylistDone);
    return true;
  }
  return false;
}

function parsed(data: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(data);
    if (typeof value === "object" && value !== null) return value as Record<string, unknown>;
  } catch {
    // Said below.
  }
  throw new Failure("The stylist's answer can't be read.", "unreadable", 502);
}
