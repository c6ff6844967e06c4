/** The steps of a request, one under another, each where its time was. */

import type { Timing } from "../api/server-timing";
import { waterfall } from "../api/server-timing";
import { milliseconds } from "../parts/words";
import { useWidth } from "./use-width";

const LEFT = 112;
const RIGHT = 84;
const ROW = 30;

const WHAT: Record<string, string> = {
  decode: "The request is read and checked",
  infer: "The model works",
  customer: "Who it is, and what they did",
  retrieve: "The nearest articles are found",
  rank: "The ranker scores them",
  explain: "The ranker says why",
  llm: "The language model writes",
  encode: "The answer is written",
};

export function Waterfall({ timings, roundTrip }: { timings: Timing[]; roundTrip: number }) {
  const { total, steps } = waterfall(timings);
  const { self, width } = useWidth(900);
  const x = (at: number) => LEFT + (at / Math.max(total, 1e-6)) * (width - LEFT - RIGHT);
  return (
    <figure class="plot" ref={self}>
      <svg
        viewBox={`0 0 ${width} ${steps.length * ROW + 8}`}
        role="img"
        aria-label={`Steps: ${steps.map((step) => `${step.name} ${milliseconds(step.duration)}`).join(", ")}; total ${milliseconds(total)}`}
        data-testid="waterfall"
      >
        <title>The time of each step</title>
        {[0, 0.25, 0.5, 0.75, 1].map((part) => (
          <line key={part} class="grid-line" x1={x(part * total)} x2={x(part * total)} y1={0} y2={steps.length * ROW} />
        ))}
        {steps.map((step, at) => (
          <g key={step.name} transform={`translate(0 ${at * ROW})`}>
            <title>{WHAT[step.name] ?? step.description ?? step.name}</title>
            <text class="label" x={step.depth * 16} y={19}>
              {step.name.slice(0, 14)}
            </text>
            <rect
              class={step.depth === 0 ? "step outer" : "step"}
              x={x(step.start)}
              y={6}
              width={Math.max(1.5, x(step.start + step.duration) - x(step.start))}
              height={ROW - 12}
              rx={2}
            />
            <text class="note" x={width} y={19} text-anchor="end">
              {milliseconds(step.duration)}
            </text>
          </g>
        ))}
      </svg>
      <figcaption class="fine">
        {milliseconds(total)} in the recommender; {milliseconds(roundTrip)} from this browser and back, with the shop's
        own question for what the articles are.
      </figcaption>
    </figure>
  );
}
