/** What share of what was shown was bought, by ranker, with what is not known for want of data. */
import type { Interactions } from "../api/shapes";
import { percent, whole } from "../parts/words";
import { interval } from "./scale";
import { useWidth } from "./use-width";

const LEFT = 110;
const RIGHT = 62;
const ROW = 46;

export function Conversion({ rankers }: { rankers: Interactions["rankers"] }) {
  const { self, width } = useWidth(640);
  const rows = rankers.filter((row) => row.shown > 0);
  if (rows.length === 0) return <p class="empty">Nothing of a list was shown yet.</p>;
  const most = Math.max(0.02, ...rows.map((row) => interval(row.purchase, row.shown)[1]));
  const top = Math.min(1, niceShare(most));
  const x = (share: number) => LEFT + (Math.min(share, top) / top) * (width - LEFT - RIGHT);
  const marks = [0, 0.5, 1].map((part) => part * top);
  return (
    <figure class="plot" ref={self}>
      <svg
        viewBox={`0 0 ${width} ${rows.length * ROW + 30}`}
        role="img"
        aria-label={`Purchases per shown article: ${rows.map((row) => `${row.ranker || "no list"} ${percent(row.purchase, row.shown)}`).join(", ")}`}
      >
        <title>Purchases per shown article, by ranker</title>
        {marks.map((mark) => (
          <g key={mark}>
            <line class="grid-line" x1={x(mark)} x2={x(mark)} y1={0} y2={rows.length * ROW} />
            <text class="note" x={x(mark)} y={rows.length * ROW + 18} text-anchor="middle">
              {percent(mark, 1)}
            </text>
          </g>
        ))}
        {rows.map((row, at) => {
          const [low, high] = interval(row.purchase, row.shown);
          const y = at * ROW + ROW / 2;
          return (
            <g key={row.ranker}>
              <text class="label" x={LEFT - 12} y={y + 1} text-anchor="end">
                {(row.ranker || "no list").slice(0, 14)}
              </text>
              <text class="note" x={LEFT - 12} y={y + 15} text-anchor="end">
                {whole.format(row.shown)} shown
              </text>
              <rect
                class="column"
                x={LEFT}
                y={y - 9}
                width={Math.max(1, x(row.purchase / row.shown) - LEFT)}
                height={18}
                rx={2}
              />
              <path class="whisker" d={`M${x(low)} ${y}H${x(high)}M${x(low)} ${y - 5}v10M${x(high)} ${y - 5}v10`} />
              <text class="label" x={Math.min(x(high) + 8, width - RIGHT + 8)} y={y + 4}>
                {percent(row.purchase, row.shown)}
              </text>
            </g>
          );
        })}
      </svg>
      <figcaption class="fine">Lines show where the share may be, with 95 % certainty.</figcaption>
    </figure>
  );
}

const niceShare = (share: number) => [0.02, 0.04, 0.08, 0.1, 0.2, 0.4, 0.6, 0.8, 1].find((each) => each >= share) ?? 1;
