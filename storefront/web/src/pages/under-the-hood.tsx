/** One request, taken apart: what engineers open the shop for. */
import { useState } from "preact/hooks";
import { explain, recommend } from "../api/client";
import { parseServerTiming } from "../api/server-timing";
import type { Explanations, Instance, Recommendations } from "../api/shapes";
import { Fault } from "../parts/fault";
import { Link } from "../parts/link";
import { Raw } from "../parts/raw";
import { useAnswer } from "../parts/use-answer";
import { scored, spaced, whole } from "../parts/words";
import { Bump, placed } from "../plots/bump";
import { Waterfall } from "../plots/waterfall";
import { config, instanceOf, ranker } from "../shop";
import { RankerSwitch } from "../shopper/ranker-switch";
import { type Shopper, shopper, shortId } from "../shopper/shopper";

/** How many candidates the chart has on each side. */
const FEW = 20;

export function UnderTheHood() {
  const person = shopper.value;
  return (
    <div class="page">
      <div class="page-head">
        <div>
          <p class="eyebrow">For those who run it</p>
          <h1>Under the hood</h1>
        </div>
        {person && (
          <div class="tools">
            <RankerSwitch />
          </div>
        )}
      </div>
      {!person ? (
        <section class="fault small">
          <h2>Whose request?</h2>
          <p>Choose who shops, and this page takes one of their requests apart.</p>
          <Link class="button" to="/">
            Choose a customer
          </Link>
        </section>
      ) : (
        config.value && <Engine key={`${person.id} ${ranker.value}`} person={person} />
      )}
    </div>
  );
}

interface Taken {
  instance: Instance;
  answer: Recommendations;
  /** Milliseconds from this browser and back. */
  took: number;
}

async function take(instance: Instance, signal: AbortSignal): Promise<Taken> {
  const began = performance.now();
  const answer = await recommend(instance, { signal });
  return { instance, answer, took: performance.now() - began };
}

function Engine({ person }: { person: Shopper }) {
  const instance = { ...instanceOf(person), k: 12 };
  const [run, setRun] = useState(1);
  const taken = useAnswer(`take ${run}`, (signal) => take(instance, signal));
  // One article is explained: a language model that gives reasons for twelve takes its time, and the candidates are all told anyway.
  const asking = { ...instance, k: 1, candidates: true };
  const explained = useAnswer(taken.value ? `why ${run}` : null, (signal) => explain(asking, { signal }));
  const timings = parseServerTiming(taken.value?.answer.server_timing ?? null);
  return (
    <>
      <div class="run">
        <p>
          A list of 12 for <code title={person.id}>{shortId(person.id)}</code>
          {taken.value?.answer.prediction.ranker && (
            <>
              , ordered by <strong>{taken.value.answer.prediction.ranker}</strong>
            </>
          )}
        </p>
        <button type="button" class="button quietly" onClick={() => setRun(run + 1)} disabled={taken.waiting}>
          Run again
        </button>
      </div>
      {taken.failure && <Fault small title="The request failed" failure={taken.failure} retry={taken.again} />}
      {taken.waiting && (
        <p class="empty" role="status">
          The request is under way…
        </p>
      )}
      {taken.value && (
        <section class="panel" aria-labelledby="times">
          <h2 id="times">Where the time goes</h2>
          {timings.length > 0 ? (
            <Waterfall timings={timings} roundTrip={taken.value.took} />
          ) : (
            <p class="empty">The recommender does not tell: its header server-timing is off.</p>
          )}
        </section>
      )}
      <Order answer={explained.value} waiting={explained.waiting} />
      {explained.failure && (
        <p class="badge warn" role="alert" dir="auto">
          Candidates can't be shown: {explained.failure.message} <code>{explained.failure.code}</code>
        </p>
      )}
      {taken.value && (
        <section class="panel" aria-labelledby="raw">
          <h2 id="raw">Word for word</h2>
          <Raw
            path="/api/recommendations"
            request={taken.value.instance}
            response={taken.value.answer}
            name="Recommendation"
          />
          {explained.value && (
            <Raw path="/api/explain" request={asking} response={explained.value} name="Explanation" />
          )}
        </section>
      )}
    </>
  );
}

function Order({ answer, waiting }: { answer: Explanations | null; waiting: boolean }) {
  const candidates = answer?.explanation.candidates;
  if (waiting)
    return (
      <p class="empty" role="status">
        The ranker is asked why…
      </p>
    );
  if (!answer || !candidates) return null;
  const all = placed(candidates);
  const unscored = all.filter((each) => each.after === null).length;
  return (
    <section class="panel" aria-labelledby="order">
      <h2 id="order">Before and after ranking</h2>
      <p class="fine">
        {whole.format(all.length)} candidates in the order in which retrieval found them, and as{" "}
        <strong>{answer.explanation.ranker}</strong> orders them
        {unscored > 0 && `; ${unscored} were not scored`}.
      </p>
      <Bump candidates={all} articles={answer.articles} few={Math.min(FEW, all.length)} />
      <details class="table">
        <summary>All candidates as a table</summary>
        <div class="scroll" tabIndex={0} role="group" aria-label="Table of candidates">
          <table data-testid="candidates">
            <thead>
              <tr>
                {["Found", "Ranked", "Moved", "Article", "Name", "Sources", "Nearness", "Score"].map((each) => (
                  <th scope="col" key={each}>
                    {each}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {all.map((each) => (
                <tr key={each.article_id}>
                  <td>{each.retrieval_rank}</td>
                  <td>{each.after ?? "–"}</td>
                  <td>{moved(each.retrieval_rank, each.after)}</td>
                  <td>
                    <code>{each.article_id}</code>
                  </td>
                  <th scope="row" dir="auto">
                    {answer.articles[each.article_id]?.prod_name ?? ""}
                  </th>
                  <td>{each.sources.map(spaced).join(", ")}</td>
                  <td>{scored(each.retrieval_score)}</td>
                  <td>{each.score === null ? "–" : scored(each.score)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      </details>
    </section>
  );
}

function moved(before: number, after: number | null): string {
  if (after === null) return "–";
  if (after === before) return "0";
  return after < before ? `▲ ${before - after}` : `▼ ${after - before}`;
}
