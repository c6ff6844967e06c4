import { expect, test } from "vitest";
import type { Ranked } from "../src/api/shapes";
import { EMPTY, laidOut, replaced, restocked } from "../src/list/replacement";

const listOf = (name: string, ...ids: string[]) => ({
  list_id: name,
  ranking: ids.map((id, at): Ranked => [1 - at / 10, id]),
});
const ids = (cards: { articleId: string }[]) => cards.map(({ articleId }) => articleId).join("");

test("the best are shown, the others are spares, and each knows its list and place", () => {
  const counter = laidOut(listOf("one", "a", "b", "c", "d"), 3);
  expect([ids(counter.shown), ids(counter.spares)]).toEqual(["abc", "d"]);
  expect(counter.spares[0]).toEqual({ articleId: "d", score: 0.7, listId: "one", place: 4 });
});

test("the best spare stands where the article was, and the others stay", () => {
  const { counter, by } = replaced(laidOut(listOf("one", "a", "b", "c", "d", "e"), 3), "b");
  expect([ids(counter.shown), ids(counter.spares), by?.articleId]).toEqual(["adc", "e", "d"]);
  expect(counter.gone).toEqual(new Set("b"));
});

test("without a spare the list is shorter", () => {
  const { counter, by } = replaced(laidOut(listOf("one", "a", "b"), 3), "a");
  expect([ids(counter.shown), by]).toEqual(["b", null]);
});

test("an article that is no longer on the counter is gone all the same", () => {
  const before = laidOut(listOf("one", "a", "b", "c"), 2);
  const { counter, by } = replaced(before, "c");
  expect([ids(counter.shown), ids(counter.spares), by]).toEqual(["ab", "", null]);
  expect(ids(restocked(counter, listOf("two", "c", "d"), 2).spares)).toBe("d");
});

test("new spares change nothing that is seen, and know their own list", () => {
  const { counter } = replaced(laidOut(listOf("one", "a", "b", "c", "d"), 3), "a");
  const stocked = restocked(counter, listOf("two", "e", "b", "f"), 3);
  expect([ids(stocked.shown), ids(stocked.spares)]).toEqual(["dbc", "ef"]);
  expect(stocked.spares.map(({ listId }) => listId)).toEqual(["two", "two"]);
  expect(stocked.shown[0]?.listId).toBe("one");
});

test("new spares fill empty places first", () => {
  const { counter } = replaced(laidOut(listOf("one", "a", "b"), 2), "a");
  const stocked = restocked(counter, listOf("two", "c", "d"), 2);
  expect([ids(stocked.shown), ids(stocked.spares)]).toEqual(["bc", "d"]);
});

test("what was bought does not come back with an answer that was under way, nor with a new list", () => {
  const { counter } = replaced(laidOut(listOf("one", "a", "b", "c"), 2), "a");
  expect(ids(restocked(counter, listOf("late", "a", "d"), 2).spares)).toBe("d");
  expect(ids(laidOut(listOf("new", "a", "d", "e"), 2, counter.gone).shown)).toBe("de");
});

test("an article that an answer has twice stands once", () => {
  expect(ids(laidOut(listOf("one", "a", "b", "a"), 3).shown)).toBe("ab");
  expect(ids(restocked(EMPTY, listOf("two", "a", "a"), 2).shown)).toBe("a");
});
