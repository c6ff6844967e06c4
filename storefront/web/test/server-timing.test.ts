import { expect, test } from "vitest";
import { parseServerTiming, waterfall } from "../src/api/server-timing";

test("names, durations and descriptions are read in their order", () => {
  expect(parseServerTiming('decode;dur=2.000, infer;dur=8;desc="the model, \\"warm\\"; fast", total;dur=12.5')).toEqual(
    [
      { name: "decode", duration: 2 },
      { name: "infer", duration: 8, description: 'the model, "warm"; fast' },
      { name: "total", duration: 12.5 },
    ],
  );
});

test("what is no entry or no number is passed over", () => {
  expect(parseServerTiming(null)).toEqual([]);
  expect(parseServerTiming(" , ;dur=1, a b;dur=2, miss, rank;dur=fast;DUR=3 ;x, neg;dur=-4")).toEqual([
    { name: "miss", duration: 0 },
    { name: "rank", duration: 3 },
    { name: "neg", duration: 0 },
  ]);
});

test("the model's steps stand inside of it, in the order of a request, and writing ends it", () => {
  const header =
    "decode;dur=2, infer;dur=8, rank;dur=5, retrieve;dur=1, customer;dur=0.5, encode;dur=1.5, total;dur=12";
  const { total, steps } = waterfall(parseServerTiming(header));
  expect(total).toBe(12);
  expect(steps.map(({ name, start, depth }) => [name, start, depth])).toEqual([
    ["decode", 0, 0],
    ["infer", 2, 0],
    ["customer", 2, 1],
    ["retrieve", 2.5, 1],
    ["rank", 3.5, 1],
    ["encode", 10.5, 0],
  ]);
});

test("a total that is missing or too small is what its parts add up to", () => {
  expect(waterfall(parseServerTiming("decode;dur=2, infer;dur=8, encode;dur=1")).total).toBe(11);
  expect(waterfall(parseServerTiming("infer;dur=8, total;dur=1")).total).toBe(8);
  expect(waterfall([])).toEqual({ total: 0, steps: [] });
});

test("steps without a whole are the whole", () => {
  const { total, steps } = waterfall(parseServerTiming("rank;dur=3, retrieve;dur=2"));
  expect(total).toBe(5);
  expect(steps.map(({ name, depth }) => [name, depth])).toEqual([
    ["retrieve", 0],
    ["rank", 0],
  ]);
});
