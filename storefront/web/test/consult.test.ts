import { afterEach, expect, test, vi } from "vitest";
import type { Failure } from "../src/api/client";
import { consult, type Listener } from "../src/stylist/consult";

afterEach(() => vi.unstubAllGlobals());

/** A stylist that says this, and what a page hears of it, in order. */
async function heard(body: string, init: ResponseInit = {}) {
  vi.stubGlobal("fetch", async () => new Response(body, init));
  const told: unknown[] = [];
  const to: Listener = {
    profile: (profile, gender) => told.push(["profile", profile, gender]),
    item: (item) => told.push(["item", item.category, Object.keys(item.details ?? {})]),
    summary: (summary) => told.push(["summary", summary]),
    done: (done) => told.push(["done", done.list_id]),
  };
  const failure: Failure | null = await consult({ request: "x", gender: "any" }, to, new AbortController().signal).then(
    () => null,
    (thrown) => thrown,
  );
  return { told, failure };
}

const ITEM =
  'event: item\ndata: {"index":0,"emoji":"👗","category":"Dress","description":"linen","articles":[[0.7,"01"]],"details":{"01":{"article_id":"01"}}}\n\n';
const DONE = 'event: done\ndata: {"list_id":"stylist@1/a"}\n\n';

test("an outfit is told piece by piece until it is done", async () => {
  const { told, failure } = await heard(
    `event: profile\ndata: {"gender":"any"}\n\n: waiting\n\n${ITEM}event: news\ndata: {}\n\nevent: summary\ndata: {"summary":"Calm."}\n\n${DONE}`,
  );
  expect(failure).toBeNull();
  expect(told).toEqual([
    ["profile", undefined, "any"],
    ["item", "Dress", ["01"]],
    ["summary", "Calm."],
    ["done", "stylist@1/a"],
  ]);
});

test("what came before the stylist failed stands, and the failure is the stylist's own", async () => {
  const { told, failure } = await heard(
    `${ITEM}event: error\ndata: {"error":"out of thread","code":"upstream_unavailable"}\n\n`,
  );
  expect(told).toHaveLength(1);
  expect([failure?.message, failure?.code]).toEqual(["out of thread", "upstream_unavailable"]);
});

test("a stream that ends before it is done broke off", async () => {
  const { told, failure } = await heard(ITEM);
  expect(told).toHaveLength(1);
  expect(failure?.code).toBe("unreadable");
});

test("data that are no object are no answer", async () => {
  expect((await heard("event: item\ndata: nonsense\n\n")).failure?.code).toBe("unreadable");
  expect((await heard("event: summary\ndata: 5\n\n")).failure?.code).toBe("unreadable");
});

test("a refusal before the first piece is told as it is", async () => {
  const { told, failure } = await heard('{"error":"field `request`: too long","code":"invalid_argument"}', {
    status: 400,
  });
  expect(told).toEqual([]);
  expect([failure?.status, failure?.code, failure?.message]).toEqual([
    400,
    "invalid_argument",
    "field `request`: too long",
  ]);
});

test("what is no envelope is told by its status", async () => {
  const { failure } = await heard("<html>", { status: 502 });
  expect([failure?.code, failure?.message]).toEqual(["http_502", "The shop answered 502."]);
});
