import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Failure } from "../src/api/client";
import { EventQueue, type ShopEvent } from "../src/api/events";

const event = (id: string, more: Partial<ShopEvent> = {}): ShopEvent => ({
  id,
  source: "storefront",
  type: "click",
  customer_id: "anna",
  article_id: "0108775015",
  time: "2020-09-22T10:00:00Z",
  ...more,
});

/** A shop that answers with these failures first, and remembers what it was sent. */
function shop(...answers: (Failure | null)[]) {
  const sent: string[][] = [];
  const send = vi.fn(async (events: ShopEvent[]) => {
    sent.push(events.map(({ id }) => id));
    const failure = answers.shift();
    if (failure) throw failure;
  });
  return { sent, send };
}

const AWAY = new Failure("away", "transformer_away", 503);

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

test("events that happen together go out together, after a moment", async () => {
  const { sent, send } = shop();
  const queue = new EventQueue({ send });
  queue.tell(event("1"));
  queue.tell(event("2"));
  expect(sent).toEqual([]);
  await vi.runAllTimersAsync();
  expect(sent).toEqual([["1", "2"]]);
  expect(queue.size).toBe(0);
});

test("more than a batch goes out in several", async () => {
  const { sent, send } = shop();
  const queue = new EventQueue({ send });
  for (let at = 0; at < 230; at++) queue.tell(event(`${at}`));
  await queue.flush();
  expect(sent.map((batch) => batch.length)).toEqual([100, 100, 30]);
  expect(new Set(sent.flat()).size).toBe(230);
});

test("what was not taken is told again with the same ids, later each time, and until it is known", async () => {
  const { sent, send } = shop(AWAY, AWAY, null);
  const queue = new EventQueue({ send, linger: 100, pause: 1_000 });
  queue.tell(event("1"));
  await vi.advanceTimersByTimeAsync(100);
  expect(sent).toEqual([["1"]]);
  queue.tell(event("2"));
  await vi.advanceTimersByTimeAsync(999);
  expect(sent).toHaveLength(1);
  await vi.advanceTimersByTimeAsync(1);
  expect(sent).toEqual([["1"], ["1", "2"]]);
  await vi.advanceTimersByTimeAsync(1_999);
  expect(sent).toHaveLength(2);
  await vi.advanceTimersByTimeAsync(1);
  expect(sent.at(-1)).toEqual(["1", "2"]);
  expect(queue.size).toBe(0);
});

test("a shop that says when is left alone until then", async () => {
  const { sent, send } = shop(new Failure("busy", "overloaded", 429, 7));
  const queue = new EventQueue({ send, linger: 0, pause: 1_000 });
  queue.tell(event("1"));
  await vi.advanceTimersByTimeAsync(6_999);
  expect(sent).toHaveLength(1);
  await vi.advanceTimersByTimeAsync(1);
  expect(sent).toHaveLength(2);
});

test("the event that a refusal names is given up, and the others are told", async () => {
  const { sent, send } = shop(new Failure("event 1: field `article_id`: …", "invalid_argument", 400));
  const queue = new EventQueue({ send });
  for (const id of ["1", "2", "3"]) queue.tell(event(id));
  await queue.flush();
  expect(sent).toEqual([
    ["1", "2", "3"],
    ["1", "3"],
  ]);
});

test("a batch that will never be taken does not stop those after it", async () => {
  const { sent, send } = shop(new Failure("too much", "payload_too_large", 413));
  const queue = new EventQueue({ send });
  queue.tell(event("1"));
  await queue.flush();
  queue.tell(event("2"));
  await queue.flush();
  expect(sent).toEqual([["1"], ["2"]]);
});

test("the same thing seen twice is told once, of each list and of each person", async () => {
  const { sent, send } = shop();
  const queue = new EventQueue({ send });
  const seen = { type: "shown", list_id: "ranking@1/a" } as const;
  expect(queue.tellOnce(event("1", seen))).toBe(true);
  expect(queue.tellOnce(event("2", seen))).toBe(false);
  expect(queue.tellOnce(event("3", { ...seen, list_id: "ranking@1/b" }))).toBe(true);
  expect(queue.tellOnce(event("4", { ...seen, customer_id: "bob" }))).toBe(true);
  await queue.flush();
  expect(sent).toEqual([["1", "3", "4"]]);
});

test("nothing is sent twice at the same time", async () => {
  const { sent, send } = shop();
  const queue = new EventQueue({ send });
  queue.tell(event("1"));
  await Promise.all([queue.flush(), queue.flush(), queue.flush()]);
  expect(sent).toEqual([["1"]]);
});

test("what happens while a batch is under way goes out after it", async () => {
  const { sent, send } = shop();
  const queue = new EventQueue({ send });
  queue.tell(event("1"));
  const flushed = queue.flush();
  queue.tell(event("2"));
  await flushed;
  expect(sent).toEqual([["1"], ["2"]]);
});

test("what was not sent survives a reload, and what was sent does not come back", async () => {
  let kept: ShopEvent[] = [];
  const shelf = { load: () => kept, save: (events: ShopEvent[]) => (kept = structuredClone(events)) };
  const before = new EventQueue({ ...shop(AWAY), shelf });
  before.tell(event("1"));
  await before.flush().catch(() => undefined);
  const { sent, send } = shop();
  const after = new EventQueue({ send, shelf });
  await vi.advanceTimersByTimeAsync(0);
  expect(sent).toEqual([["1"]]);
  expect(after.size).toBe(0);
  expect(kept).toEqual([]);
});

test("the page hears that events wait, and that they no longer do", async () => {
  const states: [number, string | undefined][] = [];
  const { send } = shop(AWAY);
  const queue = new EventQueue({
    send,
    pause: 1_000,
    onState: ({ waiting, failure }) => states.push([waiting, failure?.code]),
  });
  queue.tell(event("1"));
  await queue.flush().catch(() => undefined);
  expect(states.at(-1)).toEqual([1, "transformer_away"]);
  await vi.advanceTimersByTimeAsync(1_000);
  expect(states.at(-1)).toEqual([0, undefined]);
});
