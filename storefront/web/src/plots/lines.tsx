/** Shares over time, a line for each ranker: what was bought of all that was shown since the left end. */
import type { Bucket } from "../api/shapes";
import { percent } from "../parts/words";
import { type Moment, momentName } from "./series";
import { useWidth } from "./use-width";

const HEIGHT = 230;
const LEFT = 52;
const RIGHT = 118;
const TOP = 12;
const BOTTOM = 26;

/** How lines differ where colours do not tell. */
const STYLES = ["one", "two", "three", "four"];

export interface Line {
  name: string;
  moments: Moment[];
}

/** The share at each moment, from the first at which something was shown. */
export function shares(moments: Moment[]): (number | null)[] {
  let shown = 0;
  let bought = 0;
  return moments.map((moment) => {
    shown += moment.shown;
    bought += moment.purchase;
    return shown > 0 ? bought / shown : null;
  });
}

export function Lines({ lines, bucket }: { lines: Line[]; bucket: Bucket }) {
  const { self, width } = useWidth(640);
  const drawn = lines.slice(0, STYLES.length).map((line) => ({ ...line, shares: shares(line.moments) }));
  const moments = drawn[0]?.moments ?? [];
  if (!drawn.some((line) => line.shares.some((share) => share !== null))) return null;
  const most = Math.max(0.02, ...drawn.flatMap((line) => line.shares.map((share) => Math.min(1, share ?? 0))));
  const x = (at: number) => LEFT + (at / Math.max(1, moments.length - 1)) * (width - LEFT - RIGHT);
  const y = (share: number) => HEIGHT - BOTTOM - (Math.min(share, most) / most) * (HEIGHT - BOTTOM - TOP);
  const heights = spread(drawn.map((line) => y(line.shares.at(-1) ?? 0)));
  const labelled = Math.max(1, Math.ceil((moments.length * 70) / (width - LEFT - RIGHT)));
  return (
    <figure class="plot" ref={self}>
      <figcaption>Bought of shown so far, over time</figcaption>
      <svg
        viewBox={`0 0 ${width} ${HEIGHT}`}
        role="img"
        aria-label={`Conversion over time: at the end ${drawn.map((line) => `${line.name} ${percent(line.shares.at(-1) ?? 0, 1)}`).join(", ")}`}
      >
        <title>Conversion over time, by ranker</title>
        {[0, 0.5, 1].map((part) => (
          <g key={part}>
            <line
              class={part === 0 ? "axis" : "grid-line"}
              x1={LEFT}
              x2={width - RIGHT}
              y1={y(part * most)}
              y2={y(part * most)}
            />
            <text class="note" x={LEFT - 8} y={y(part * most) + 4} text-anchor="end">
              {percent(part * most, 1)}
            </text>
          </g>
        ))}
        {moments.map((moment, at) =>
          at % labelled === 0 ? (
            <text key={moment.at} class="note" x={x(at)} y={HEIGHT - 8}>
              {momentName(moment.at, bucket)}
            </text>
          ) : null,
        )}
        {drawn.map((line, at) => (
          <g key={line.name}>
            <path class={`line ${STYLES[at]}`} d={path(line.shares, x, y)} />
            <path class={`line ${STYLES[at]}`} d={`M${width - RIGHT + 6} ${heights[at]}h18`} />
            <text class="label" x={width - RIGHT + 30} y={(heights[at] ?? 0) + 4}>
              {line.name.slice(0, 14)}
            </text>
          </g>
        ))}
      </svg>
    </figure>
  );
}

function path(values: (number | null)[], x: (at: number) => number, y: (share: number) => number): string {
  const points = values.flatMap((value, at) => (value === null ? [] : [`${x(at)} ${y(value)}`]));
  return points.length > 0 ? `M${points.join("L")}` : "";
}

/** Heights of labels, moved so far apart that each can be read. */
function spread(heights: number[]): number[] {
  const order = heights.map((height, at) => ({ height, at })).sort((one, other) => one.height - other.height);
  const placed = [...heights];
  let last = Number.NEGATIVE_INFINITY;
  for (const { height, at } of order) {
    last = Math.max(height, last + 18);
    placed[at] = last;
  }
  return placed;
}
