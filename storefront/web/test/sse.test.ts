import { expect, test } from "vitest";
import { EventStreamParser, serverEvents } from "../src/api/sse";

const STREAM =
  'event: item\ndata: {"index":0}\n\n: still there\n\ndata: one\ndata:two\ndata\n\nid: 7\nevent: done\ndata: {}\n\n';
const EVENTS = [
  { event: "item", data: '{"index":0}' },
  { event: "message", data: "one\ntwo\n" },
  { event: "done", data: "{}", id: "7" },
];

const all = (...pieces: string[]) => {
  const parser = new EventStreamParser();
  return pieces.flatMap((piece) => parser.push(piece));
};

test("events are read from a stream that comes at once", () => {
  expect(all(STREAM)).toEqual(EVENTS);
});

test("it does not matter where a stream is cut, or how its lines end", () => {
  for (const end of ["\n", "\r\n", "\r"]) {
    const stream = STREAM.replaceAll("\n", end);
    for (let at = 0; at <= stream.length; at++)
      expect(all(stream.slice(0, at), stream.slice(at)), `${JSON.stringify(end)} at ${at}`).toEqual(EVENTS);
    expect(all(...stream), "sign by sign").toEqual(EVENTS);
  }
});

test("an empty piece between the halves of a CRLF changes nothing", () => {
  expect(all("data: a\r", "", "\ndata: b\r\n\r\n")).toEqual([{ event: "message", data: "a\nb" }]);
});

test("comments, unknown fields and events without data are passed over", () => {
  expect(all(": hello\n\nretry: 10\nevent: ping\n\nfoo: bar\ndata: x\n\n")).toEqual([{ event: "message", data: "x" }]);
});

test("the name of an event without data is not that of the next", () => {
  expect(all("event: item\n\ndata: x\n\n")).toEqual([{ event: "message", data: "x" }]);
});

test("only one space after the colon is no part of a value", () => {
  expect(all("data:  two\n\n")).toEqual([{ event: "message", data: " two" }]);
});

test("a byte order mark at the beginning is none of the first field, and later is data", () => {
  expect(all("\uFEFFdata: x\n\ndata: \uFEFFy\n\n").map(({ data }) => data)).toEqual(["x", "\uFEFFy"]);
});

test("an event that was cut off is none", () => {
  expect(all("data: whole\n\ndata: cut off\n")).toEqual([{ event: "message", data: "whole" }]);
});

const bodyOf = (chunks: Uint8Array[], cancelled = () => {}) =>
  new ReadableStream<Uint8Array>({
    start(controller) {
      for (const chunk of chunks) controller.enqueue(chunk);
      controller.close();
    },
    cancel: cancelled,
  });

test("signs of several bytes may be cut between them", async () => {
  const bytes = new TextEncoder().encode("data: 👖 مرحبا\n\n");
  const events = [];
  for await (const event of serverEvents(bodyOf([...bytes].map((byte) => Uint8Array.of(byte))))) events.push(event);
  expect(events).toEqual([{ event: "message", data: "👖 مرحبا" }]);
});

test("who stops listening ends the request", async () => {
  let cancelled = false;
  const endless = new ReadableStream<Uint8Array>({
    pull: (controller) => controller.enqueue(new TextEncoder().encode("data: x\n\n")),
    cancel: () => {
      cancelled = true;
    },
  });
  for await (const _ of serverEvents(endless)) break;
  expect(cancelled).toBe(true);
});
