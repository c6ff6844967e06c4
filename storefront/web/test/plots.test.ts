import { expect, test } from "vitest";
import type { Candidate } from "../src/api/shapes";
import { placed } from "../src/plots/bump";
import { shares } from "../src/plots/lines";
import { interval, ticks } from "../src/plots/scale";
import { filled, nothing } from "../src/plots/series";

test("moments at which nothing happened are there, and rankers are added up", () => {
  const row = (at: string, ranker: string, shown: number) => ({ at, ranker, ...nothing(), shown });
  const answer = {
    since: "2026-03-04T05:00:00Z",
    until: "2026-03-04T05:03:30Z",
    bucket: "minute" as const,
    series: [
      row("2026-03-04T05:01:00Z", "ranking", 3),
      row("2026-03-04T05:01:00Z", "llm", 4),
      row("2026-03-04T04:00:00Z", "llm", 9),
    ],
  };
  expect(filled(answer).map(({ shown }) => shown)).toEqual([0, 7, 0, 0]);
  expect(filled(answer, "llm").map(({ shown }) => shown)).toEqual([0, 4, 0, 0]);
});

test("a clock that is years off does not fill the memory", () => {
  const answer = {
    since: "1999-01-01T00:00:00Z",
    until: "2026-01-01T00:00:00Z",
    bucket: "minute" as const,
    series: [],
  };
  expect(filled(answer).length).toBeLessThanOrEqual(1_100);
});

test("axes have round marks that reach the highest value", () => {
  expect(ticks(0)).toEqual([0, 1]);
  expect(ticks(3)).toEqual([0, 1, 2, 3]);
  expect(ticks(87)).toEqual([0, 50, 100]);
  expect(ticks(1_234).at(-1)).toBeGreaterThanOrEqual(1_234);
});

test("few trials leave much open, and many little", () => {
  const [low, high] = interval(1, 10);
  expect([low, high].map((share) => Number(share.toFixed(3)))).toEqual([0.018, 0.404]);
  const [nearLow, nearHigh] = interval(1_000, 10_000);
  expect(nearHigh - nearLow).toBeLessThan(0.02);
  expect(interval(0, 0)).toEqual([0, 1]);
});

test("shares begin with the first thing that was shown", () => {
  const moment = (shown: number, purchase: number) => ({ at: 0, ...nothing(), shown, purchase });
  expect(shares([moment(0, 0), moment(4, 1), moment(4, 1)])).toEqual([null, 0.25, 0.25]);
});

test("candidates are placed by score, ties by retrieval, and those without a score nowhere", () => {
  const candidate = (article_id: string, retrieval_rank: number, score: number | null): Candidate => ({
    article_id,
    sources: ["towers"],
    retrieval_rank,
    retrieval_score: 0.5,
    score,
  });
  const all = [candidate("a", 1, 0.1), candidate("b", 2, null), candidate("c", 3, 0.9), candidate("d", 4, 0.1)];
  expect(placed(all).map(({ after }) => after)).toEqual([2, null, 1, 3]);
});
