/** Two orders of the same candidates: as they were found on the left, as they were ranked on the right. */
import type { Articles, Candidate } from "../api/shapes";
import { fitted, useWidth } from "./use-width";

const ROW = 26;
const TOP = 30;

export interface Placed extends Candidate {
  /** Place after ranking, from 1; none where the ranker did not score it. */
  after: number | null;
}

/** Candidates with their places after ranking: best score first, ties by retrieval. */
export function placed(candidates: Candidate[]): Placed[] {
  const order = candidates
    .filter((candidate) => candidate.score !== null)
    .toSorted((one, other) => (other.score ?? 0) - (one.score ?? 0) || one.retrieval_rank - other.retrieval_rank);
  const places = new Map(order.map((candidate, at) => [candidate.article_id, at + 1]));
  return candidates.map((candidate) => ({ ...candidate, after: places.get(candidate.article_id) ?? null }));
}

/** The chart has the first of both sides: `few` of each. */
export function Bump({ candidates, articles, few }: { candidates: Placed[]; articles: Articles; few: number }) {
  const { self, width } = useWidth(900);
  const left = width * 0.34;
  const right = width - left;
  const bend = (right - left) * 0.45;
  const seen = candidates.filter((each) => each.retrieval_rank <= few || (each.after !== null && each.after <= few));
  const name = (id: string) => fitted(articles[id]?.prod_name ?? id, left);
  const y = (place: number) => TOP + (Math.min(place, few + 1) - 0.5) * ROW + (place > few ? 10 : 0);
  const risen = (each: Placed) => each.after !== null && each.after < each.retrieval_rank;
  return (
    <figure class="plot" ref={self}>
      <svg
        viewBox={`0 0 ${width} ${TOP + (few + 1) * ROW + 16}`}
        role="img"
        aria-label={`The first ${few} of ${candidates.length} candidates before and after ranking; the table below has all`}
        data-testid="bump"
      >
        <title>Candidates before and after ranking</title>
        <text class="label strong" x={left} y={14} text-anchor="end">
          As found
        </text>
        <text class="label strong" x={right} y={14}>
          As ranked
        </text>
        {seen.map((each) => {
          const from = y(each.retrieval_rank);
          const to = y(each.after ?? few + 1);
          const style = each.after === null ? "slope unscored" : risen(each) ? "slope risen" : "slope fallen";
          return (
            <g key={each.article_id}>
              <path
                class={style}
                d={`M${left + 34} ${from}C${left + bend} ${from} ${right - bend} ${to} ${right - 34} ${to}`}
              />
              {each.retrieval_rank <= few && (
                <>
                  <text class="label" x={left} y={from + 4} text-anchor="end">
                    {name(each.article_id)}
                  </text>
                  <text class="note" x={left + 17} y={from + 4} text-anchor="middle">
                    {each.retrieval_rank}
                  </text>
                </>
              )}
              {each.after !== null && each.after <= few && (
                <>
                  <text class="label" x={right} y={to + 4}>
                    {name(each.article_id)}
                  </text>
                  <text class="note" x={right - 17} y={to + 4} text-anchor="middle">
                    {each.after}
                  </text>
                </>
              )}
            </g>
          );
        })}
        <text class="note" x={left + 28} y={y(few + 1) + 4} text-anchor="end">
          beyond {few}
        </text>
        <text class="note" x={right - 28} y={y(few + 1) + 4}>
          beyond {few}
        </text>
      </svg>
    </figure>
  );
}
