/** Telling the shop what people see and do: in batches, again until it is known, and each thing once. */
import { type Failure, failureOf, refusal } from "./client";
import type { Kind } from "./shapes";

/** An event of the recommender's protocol; its id makes telling it twice harmless. */
export interface ShopEvent {
  id: string;
  source: string;
  type: Kind;
  customer_id?: string;
  visitor_id?: string;
  article_id: string;
  list_id?: string;
  time: string;
}

/** Where unsent events wait over a reload. */
export interface Shelf {
  load(): ShopEvent[];
  save(events: ShopEvent[]): void;
}

export interface QueueParts {
  /** Rejects with a [`Failure`] where the events were not taken. */
  send(events: ShopEvent[]): Promise<void>;
  shelf?: Shelf;
  /** How long events wait for company, in ms. */
  linger?: number;
  /** The first wait after a failure, in ms; it doubles up to a minute. */
  pause?: number;
  /** Told whether events had to wait since the last try. */
  onState?(state: { waiting: number; failure: Failure | null }): void;
}

/** The most events of one request: below the protocol's 1,000, and below the 64 KiB of a request that outlives its page. */
const BATCH = 100;
const LONGEST_PAUSE = 60_000;

export class EventQueue {
  private waiting: ShopEvent[];
  private sending: Promise<void> | null = null;
  private timer: ReturnType<typeof setTimeout> | null = null;
  private failures = 0;
  private readonly seen = new Set<string>();

  constructor(private readonly parts: QueueParts) {
    this.waiting = parts.shelf?.load() ?? [];
    if (this.waiting.length > 0) this.schedule(0);
  }

  /** How many are not yet known to the shop. */
  get size(): number {
    return this.waiting.length;
  }

  /** Puts an event in the queue. */
  tell(event: ShopEvent): void {
    this.waiting.push(event);
    this.keep();
    if (this.failures === 0) this.schedule(this.parts.linger ?? 400);
  }

  /** Puts an event in the queue unless the same was told of before: seeing a card twice is seeing it. */
  tellOnce(event: ShopEvent): boolean {
    const who = event.customer_id ?? event.visitor_id;
    const key = [event.type, who, event.list_id, event.article_id].join("\n");
    if (this.seen.has(key)) return false;
    this.seen.add(key);
    this.tell(event);
    return true;
  }

  /** Sends everything that waits, now. Resolves when all is known to the shop, and rejects with why it is not. */
  async flush(): Promise<void> {
    this.cancel();
    while (this.waiting.length > 0) {
      this.sending ??= this.sendBatch().finally(() => {
        this.sending = null;
      });
      await this.sending;
    }
  }

  private async sendBatch(): Promise<void> {
    const batch = this.waiting.slice(0, BATCH);
    try {
      await this.parts.send(batch);
      this.failures = 0;
      this.drop(batch);
    } catch (thrown) {
      const failure = failureOf(thrown);
      const wrong = refused(failure, batch);
      if (wrong.length > 0) {
        this.drop(wrong);
        return;
      }
      this.failures++;
      const pause = Math.min((this.parts.pause ?? 1_000) * 2 ** (this.failures - 1), LONGEST_PAUSE);
      this.schedule(Math.max(pause, (failure.retryAfter ?? 0) * 1_000));
      this.parts.onState?.({ waiting: this.waiting.length, failure });
      throw failure;
    }
  }

  private drop(events: ShopEvent[]): void {
    const gone = new Set(events.map((event) => event.id));
    this.waiting = this.waiting.filter((event) => !gone.has(event.id));
    this.keep();
  }

  private keep(): void {
    this.parts.shelf?.save(this.waiting);
    if (this.failures === 0) this.parts.onState?.({ waiting: this.waiting.length, failure: null });
  }

  private schedule(delay: number): void {
    if (this.timer !== null && this.failures === 0) return;
    this.cancel();
    this.timer = setTimeout(() => {
      this.timer = null;
      // A failure has scheduled the next try already.
      this.flush().catch(() => undefined);
    }, delay);
  }

  private cancel(): void {
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
  }
}

/** The events that will never be taken: the one that a refusal names (`event 3: …`), or the whole batch. */
function refused(failure: Failure, batch: ShopEvent[]): ShopEvent[] {
  if (![400, 413, 415, 422].includes(failure.status)) return [];
  const named = /^event (\d+):/.exec(failure.message);
  const one = named ? batch[Number(named[1])] : undefined;
  return one ? [one] : batch;
}

/** Sends events with a request that outlives the page. */
export async function sendEvents(events: ShopEvent[]): Promise<void> {
  let response: Response;
  try {
    response = await fetch("/api/events", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(events),
      keepalive: true,
      signal: AbortSignal.timeout(10_000),
    });
  } catch (thrown) {
    throw failureOf(thrown);
  }
  if (response.ok) return;
  throw await refusal(response);
}

/** A shelf in this tab's own storage; without one events live as long as the page. */
export function tabShelf(key: string): Shelf {
  return {
    load() {
      try {
        const events: unknown = JSON.parse(sessionStorage.getItem(key) ?? "[]");
        return Array.isArray(events) ? (events as ShopEvent[]) : [];
      } catch {
        return [];
      }
    },
    save(events) {
      try {
        sessionStorage.setItem(key, JSON.stringify(events));
      } catch {
        // Storage is full or forbidden: the events are still sent from memory.
      }
    },
  };
}
