/** What all pages share: the shop's set-up, the queue of events, and quiet messages. */
import { computed, signal } from "@preact/signals";
import { config as askConfig, type Failure, failureOf } from "./api/client";
import { EventQueue, type ShopEvent, sendEvents, tabShelf } from "./api/events";
import type { Config, Instance, Kind } from "./api/shapes";
import { parameter } from "./route";
import type { Shopper } from "./shopper/shopper";
import { uuid } from "./uuid";

export const config = signal<Config | null>(null);
export const configFailure = signal<Failure | null>(null);

export async function loadConfig(): Promise<void> {
  configFailure.value = null;
  try {
    config.value = await askConfig();
  } catch (thrown) {
    configFailure.value = failureOf(thrown);
  }
}

const wanted = parameter("ranker");

/** The ranker that is asked: the address says it, if the shop has it; else the shop's own choice, which is none of ours to name. */
export const ranker = computed(() => {
  const known = config.value?.rankers.rankers.some((each) => each.name === wanted.value);
  return known ? (wanted.value ?? undefined) : undefined;
});

/** The shop's today: its data's last day, or the day it is. */
export const today = () => config.value?.last_day ?? new Date().toISOString().slice(0, 10);

/** The instance that asks for this person, as of the shop's today. */
export function instanceOf(person: Shopper): Instance {
  return {
    customer_id: person.id,
    transaction_date: today(),
    ...(person.age === undefined ? {} : { age: person.age }),
    ...(ranker.value ? { ranker: ranker.value } : {}),
  };
}

/** Why events wait, while they do. */
export const eventsWait = signal<{ waiting: number; failure: Failure } | null>(null);

export const events = new EventQueue({
  send: sendEvents,
  shelf: tabShelf("hemline.events"),
  onState({ waiting, failure }) {
    eventsWait.value = failure && waiting > 0 ? { waiting, failure } : null;
  },
});

/** An event of this moment, with an id of its own. */
export function happening(type: Kind, person: Shopper, articleId: string, listId: string | undefined): ShopEvent {
  return {
    id: uuid(),
    source: "storefront",
    type,
    ...(person.visitor ? { visitor_id: person.id } : { customer_id: person.id }),
    article_id: articleId,
    ...(listId ? { list_id: listId } : {}),
    time: new Date().toISOString(),
  };
}

// What is still waiting goes out with a request that outlives the page.
addEventListener("pagehide", () => {
  events.flush().catch(() => undefined);
});

/** A message that goes away by itself. */
export const toast = signal<{ text: string; id: number } | null>(null);

let told = 0;
let timer: ReturnType<typeof setTimeout> | undefined;

export function say(text: string): void {
  toast.value = { text, id: ++told };
  clearTimeout(timer);
  timer = setTimeout(() => {
    toast.value = null;
  }, 5_000);
}
