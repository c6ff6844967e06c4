/** One kind of event over time: columns, with a table for those who do not see them. */
import type { Bucket, Kind } from "../api/shapes";
import { whole } from "../parts/words";
import { ticks } from "./scale";
import { type Moment, momentName } from "./series";
import { useWidth } from "./use-width";

const HEIGHT = 190;
const LEFT = 44;
const BOTTOM = 26;
const TOP = 12;

export function OverTime(props: { title: string; kind: Kind; moments: Moment[]; bucket: Bucket }) {
  const { title, kind, moments, bucket } = props;
  const { self, width } = useWidth(900);
  const most = Math.max(0, ...moments.map((moment) => moment[kind]));
  const marks = ticks(most);
  const top = marks.at(-1) ?? 1;
  const height = (count: number) => (count / top) * (HEIGHT - BOTTOM - TOP);
  const step = (width - LEFT) / Math.max(1, moments.length);
  const labelled = Math.max(1, Math.ceil((moments.length * 75) / (width - LEFT)));
  const total = moments.reduce((sum, moment) => sum + moment[kind], 0);
  return (
    <figure class={`plot of-${kind}`} ref={self}>
      <figcaption>{title}</figcaption>
      <svg
        viewBox={`0 0 ${width} ${HEIGHT}`}
        role="img"
        aria-label={`${title} by ${bucket}: ${whole.format(total)} in all, ${whole.format(most)} at most`}
      >
        <title>{title}</title>
        <desc>
          {whole.format(total)} in all, {whole.format(most)} in the {bucket} with the most.
        </desc>
        {marks.map((mark) => (
          <g key={mark} transform={`translate(0 ${HEIGHT - BOTTOM - height(mark)})`}>
            <line class={mark === 0 ? "axis" : "grid-line"} x1={LEFT} x2={width} />
            <text class="note" x={LEFT - 8} y={4} text-anchor="end">
              {whole.format(mark)}
            </text>
          </g>
        ))}
        {moments.map((moment, at) => (
          <g key={moment.at}>
            {moment[kind] > 0 && (
              <rect
                class="column"
                x={LEFT + at * step + Math.min(1.5, step * 0.12)}
                width={Math.max(0.8, step - Math.min(3, step * 0.24))}
                y={HEIGHT - BOTTOM - height(moment[kind])}
                height={height(moment[kind])}
                rx={Math.min(2, step / 4)}
              >
                <title>
                  {momentName(moment.at, bucket)}: {whole.format(moment[kind])}
                </title>
              </rect>
            )}
            {at % labelled === 0 && (
              <text class="note" x={LEFT + at * step} y={HEIGHT - 8}>
                {momentName(moment.at, bucket)}
              </text>
            )}
          </g>
        ))}
      </svg>
    </figure>
  );
}
