/** Bars to the right and to the left of nought: what speaks for, and what against. */

import { fitted, useWidth } from "./use-width";

export interface Bar {
  name: string;
  value: number;
  /** What the value is of. */
  note?: string;
}

const ROW = 28;
const VALUES = 56;

export function Bars({ title, rows }: { title: string; rows: Bar[] }) {
  const { self, width } = useWidth(660);
  const names = Math.min(200, width * 0.42);
  const most = Math.max(...rows.map((row) => Math.abs(row.value)), 1e-9);
  const left = rows.some((row) => row.value < 0) ? 0.5 : 0;
  const plot = width - names - VALUES;
  const nought = names + plot * left;
  const length = (value: number) => (Math.abs(value) / most) * plot * (left ? 0.5 : 1);
  return (
    <figure class="plot" ref={self}>
      <svg
        viewBox={`0 0 ${width} ${rows.length * ROW + 8}`}
        role="img"
        aria-label={`${title}: ${rows.map((row) => `${row.name} ${row.value.toFixed(2)}`).join(", ")}`}
      >
        <title>{title}</title>
        <line class="axis" x1={nought} x2={nought} y1={0} y2={rows.length * ROW} />
        {rows.map((row, at) => (
          <g key={row.name} transform={`translate(0 ${at * ROW})`}>
            <text class="label" x={names - 10} y={row.note ? 13 : 18} text-anchor="end">
              {fitted(row.name, names - 10)}
            </text>
            {row.note && (
              <text class="note" x={names - 10} y={25} text-anchor="end">
                {fitted(row.note, names)}
              </text>
            )}
            <rect
              class={row.value < 0 ? "against" : "for"}
              x={row.value < 0 ? nought - length(row.value) : nought}
              y={5}
              width={Math.max(1, length(row.value))}
              height={ROW - 12}
              rx={2}
            />
            <text class="label" x={row.value < 0 ? nought + 6 : nought + length(row.value) + 6} y={18}>
              {row.value < 0 ? "−" : "+"}
              {Math.abs(row.value).toFixed(2)}
            </text>
          </g>
        ))}
      </svg>
    </figure>
  );
}
