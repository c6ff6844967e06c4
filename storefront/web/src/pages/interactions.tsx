/** What people do in the shop, as it happens. */
import { useEffect, useRef, useState } from "preact/hooks";
import { type Failure, failureOf, interactions } from "../api/client";
import { type Interactions as Answer, type Bucket, KINDS, type Kind } from "../api/shapes";
import { Fault } from "../parts/fault";
import { percent, whole } from "../parts/words";
import { Conversion } from "../plots/conversion";
import { Lines } from "../plots/lines";
import { OverTime } from "../plots/over-time";
import { filled, momentName } from "../plots/series";
import { shortId } from "../shopper/shopper";
import { Choice } from "../stylist/desk";

const TITLES: Record<Kind, string> = { shown: "Shown", click: "Clicked", purchase: "Bought", dismiss: "Put away" };

const BUCKETS: [Bucket, string][] = [
  ["minute", "By minute"],
  ["hour", "By hour"],
  ["day", "By day"],
];

/** How far back each look goes, in ms: an hour, a day, a month. */
const BACK: Record<Bucket, number> = { minute: 3_600_000, hour: 86_400_000, day: 30 * 86_400_000 };

const EVERY = 2_000;

/** Asks every two seconds, while the page is seen and not paused. A failure is shown when there is nothing else to show. */
function useLive(bucket: Bucket, live: boolean) {
  const [answer, setAnswer] = useState<Answer | null>(null);
  const [failure, setFailure] = useState<Failure | null>(null);
  const [times, setTimes] = useState(0);
  useEffect(() => {
    const wanted = new AbortController();
    let timer: ReturnType<typeof setTimeout>;
    let asked = false;
    const poll = async () => {
      if (!asked || document.visibilityState === "visible") {
        try {
          const since = new Date(Date.now() - BACK[bucket]).toISOString().replace(/\.\d+Z$/, "Z");
          const told = await interactions(since, bucket, { signal: wanted.signal, patience: 8_000 });
          setAnswer(told);
          setFailure(null);
        } catch (thrown) {
          const told = failureOf(thrown);
          if (wanted.signal.aborted) return;
          setFailure(told);
        }
        asked = true;
      }
      if (live && !wanted.signal.aborted) timer = setTimeout(poll, EVERY);
    };
    void poll();
    return () => {
      wanted.abort();
      clearTimeout(timer);
    };
  }, [bucket, live, times]);
  return { answer: answer?.bucket === bucket ? answer : null, failure, again: () => setTimes((count) => count + 1) };
}

export function Interactions() {
  const [bucket, setBucket] = useState<Bucket>("minute");
  const [live, setLive] = useState(true);
  const { answer, failure, again } = useLive(bucket, live);
  return (
    <div class="page">
      <div class="page-head">
        <div>
          <p class="eyebrow">{live ? <span class="live">Live</span> : "Paused"}</p>
          <h1>What people do</h1>
        </div>
        <div class="tools">
          <Choice
            legend="Over time"
            name="bucket"
            options={BUCKETS}
            value={bucket}
            onChange={(next) => setBucket(next)}
          />
          <button type="button" class="button quietly" aria-pressed={!live} onClick={() => setLive(!live)}>
            {live ? "Pause" : "Go on"}
          </button>
        </div>
      </div>
      {failure && answer && (
        <p class="badge warn" dir="auto">
          These numbers are of a moment ago: {failure.message}
        </p>
      )}
      {answer ? (
        <Board answer={answer} />
      ) : failure ? (
        <Fault small title="The numbers could not be had" failure={failure} retry={again} />
      ) : (
        <p class="empty" role="status">
          Counting…
        </p>
      )}
    </div>
  );
}

function Board({ answer }: { answer: Answer }) {
  const moments = filled(answer);
  const { totals } = answer;
  return (
    <>
      <ul class="totals" aria-label="Totals" data-testid="totals">
        {KINDS.map((kind) => (
          <li key={kind} class={`of-${kind}`} data-testid={`total-${kind}`}>
            <strong>{whole.format(totals[kind])}</strong>
            <span>{TITLES[kind]}</span>
            <em>{kind === "shown" ? "" : `${percent(totals[kind], totals.shown)} of shown`}</em>
          </li>
        ))}
      </ul>
      <div class="plots">
        {KINDS.map((kind) => (
          <OverTime key={kind} title={TITLES[kind]} kind={kind} moments={moments} bucket={answer.bucket} />
        ))}
      </div>
      <TimeTable moments={moments} bucket={answer.bucket} />
      <section class="panel" aria-labelledby="conversion">
        <h2 id="conversion">Conversion by ranker</h2>
        <div class="plots">
          <Conversion rankers={answer.rankers} />
          <Lines
            bucket={answer.bucket}
            lines={answer.rankers
              .filter((row) => row.shown > 0)
              .map((row) => ({ name: row.ranker || "no list", moments: filled(answer, row.ranker) }))}
          />
        </div>
        <RankerTable rankers={answer.rankers} />
      </section>
      {answer.latest && <Latest latest={answer.latest} />}
    </>
  );
}

function TimeTable(props: { moments: ReturnType<typeof filled>; bucket: Bucket }) {
  const rows = props.moments.filter((moment) => KINDS.some((kind) => moment[kind] > 0));
  return (
    <Table
      summary="The same as a table"
      head={["From", ...KINDS.map((kind) => TITLES[kind])]}
      rows={rows.map((moment) => [
        momentName(moment.at, props.bucket),
        ...KINDS.map((kind) => whole.format(moment[kind])),
      ])}
    />
  );
}

function RankerTable({ rankers }: { rankers: Answer["rankers"] }) {
  return (
    <Table
      summary="The same as a table"
      head={["Ranker", ...KINDS.map((kind) => TITLES[kind]), "Bought of shown", "Clicked of shown"]}
      rows={rankers.map((row) => [
        row.ranker || "no list",
        ...KINDS.map((kind) => whole.format(row[kind])),
        percent(row.purchase, row.shown),
        percent(row.click, row.shown),
      ])}
    />
  );
}

function Table({ summary, head, rows }: { summary: string; head: string[]; rows: string[][] }) {
  const self = useRef<HTMLDetailsElement>(null);
  return (
    <details class="table" ref={self}>
      <summary>{summary}</summary>
      <div class="scroll" tabIndex={0} role="group" aria-label={summary}>
        <table>
          <thead>
            <tr>
              {head.map((each) => (
                <th key={each} scope="col">
                  {each}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {rows.map(([first, ...others], at) => (
              <tr key={at}>
                <th scope="row">{first}</th>
                {others.map((each, place) => (
                  <td key={place}>{each}</td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </details>
  );
}

function Latest({ latest }: { latest: NonNullable<Answer["latest"]> }) {
  return (
    <section class="panel" aria-labelledby="latest">
      <h2 id="latest">Just now</h2>
      {latest.length === 0 && <p class="empty">Nothing happened yet.</p>}
      <ol class="latest" data-testid="latest">
        {latest.map((event) => (
          <li key={`${event.at} ${event.kind} ${event.article_id} ${event.customer_id}`}>
            <time dateTime={event.at}>{new Date(event.at).toLocaleTimeString("en-GB")}</time>
            <span class={`kind of-${event.kind}`}>{TITLES[event.kind]}</span>
            <code>{event.article_id}</code>
            <bdi>{shortId(event.customer_id)}</bdi>
            <span class="fine">{event.list_id?.split("@")[0] ?? ""}</span>
          </li>
        ))}
      </ol>
    </section>
  );
}
