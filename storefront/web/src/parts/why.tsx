/** A ranker's reasons: a model of trees tells contributions, a language model tells words. */
import type { Contributions, Explained, Reason } from "../api/shapes";
import { Bars } from "../plots/bars";
import { scored, spaced } from "./words";

const SOURCES: Record<string, string> = {
  towers: "near in taste",
  alike: "like what was touched",
  popular: "popular at this age",
};

/** How many features are drawn; the others are a line together. */
const MOST = 10;

export function Why({ ranker, told }: { ranker: string; told: Explained }) {
  const { retrieval, ranking } = told;
  return (
    <>
      <ul class="way">
        {retrieval?.sources?.map((source) => (
          <li key={source}>
            found as <strong>{SOURCES[source] ?? source}</strong>
          </li>
        ))}
        {retrieval?.rank !== undefined && (
          <li>
            place <strong>{retrieval.rank}</strong> of retrieval
            {retrieval.score !== undefined && `, nearness ${scored(retrieval.score)}`}
          </li>
        )}
        {ranking && (
          <li>
            place <strong>{ranking.place}</strong> of <bdi>{ranker}</bdi>,{" "}
            {ranking.scored ? `score ${scored(ranking.score)}` : "not scored"}
          </li>
        )}
        {told.step && told.step !== "listed" && told.step !== "ranking" && (
          <li>no longer offered: its way ends at {told.step}</li>
        )}
      </ul>
      <Reasons reason={told.explanation ?? null} features={told.features ?? {}} />
    </>
  );
}

function Reasons({ reason, features }: { reason: Reason; features: Record<string, number | string> }) {
  if (reason === null) return <Features features={features} note="The ranker has no words for it. It was told:" />;
  if (typeof reason === "string")
    return (
      <>
        <blockquote dir="auto">{reason}</blockquote>
        <Features features={features} note="It was told:" />
      </>
    );
  if (!isContributions(reason)) return <Features features={reason} note="The ranker says:" />;
  const sorted = Object.entries(reason.contributions).sort(([, one], [, other]) => Math.abs(other) - Math.abs(one));
  const others = sorted.slice(MOST);
  const bars = sorted
    .slice(0, MOST)
    .map(([name, value]) => ({ name: spaced(name), value, note: noted(features[name]) }));
  if (others.length > 0)
    bars.push({ name: `${others.length} others`, value: others.reduce((sum, [, value]) => sum + value, 0), note: "" });
  return (
    <>
      <p class="fine">
        What each fact added to the margin: {reason.base.toFixed(2)} to begin with, {reason.margin.toFixed(2)} in the
        end, which is the probability {(1 / (1 + Math.exp(-reason.margin))).toFixed(3)}.
      </p>
      <Bars title="Contributions of the features" rows={bars} />
    </>
  );
}

function isContributions(reason: object): reason is Contributions {
  const told = reason as Partial<Contributions>;
  return (
    typeof told.base === "number" &&
    typeof told.margin === "number" &&
    typeof told.contributions === "object" &&
    told.contributions !== null
  );
}

function noted(value: number | string | undefined): string {
  if (value === undefined) return "";
  return typeof value === "number" ? `${Number(value.toFixed(3))}` : value;
}

function Features({ features, note }: { features: Record<string, unknown>; note: string }) {
  const entries = Object.entries(features).filter(([, value]) =>
    ["string", "number", "boolean"].includes(typeof value),
  );
  if (entries.length === 0) return null;
  return (
    <>
      <p class="fine">{note}</p>
      <dl class="attributes">
        {entries.map(([name, value]) => (
          <div key={name}>
            <dt>{spaced(name)}</dt>
            <dd dir="auto">{typeof value === "number" ? Number(value.toFixed(4)) : String(value)}</dd>
          </div>
        ))}
      </dl>
    </>
  );
}
