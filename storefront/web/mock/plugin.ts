/** A shop without its servers, for work on the pages: `HEMLINE_MOCK=1 npm run dev`. Its answers have the real ones' shape; all of it is made up. */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Plugin } from "vite";
import { articleOf, articlesOf, CUSTOMERS, everyId, NOW, seeded } from "./wares.ts";

interface Told {
  type: "shown" | "click" | "purchase" | "dismiss";
  article_id: string;
  customer_id?: string;
  visitor_id?: string;
  list_id?: string;
  at: string;
}

const told: Told[] = [];

export function mockShop(): Plugin {
  return {
    name: "mock-shop",
    configureServer(server) {
      server.middlewares.use("/api", (request, response) => void answer(request, response));
    },
    configurePreviewServer(server) {
      server.middlewares.use("/api", (request, response) => void answer(request, response));
    },
  };
}

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = new URL(request.url ?? "/", "http://mock");
  let text = "";
  for await (const piece of request) text += piece;
  const body = text ? JSON.parse(text) : {};
  const send = (value: unknown, status = 200) => {
    response.writeHead(status, { "content-type": "application/json" });
    response.end(JSON.stringify(value));
  };
  if (process.env.HEMLINE_MOCK === "away")
    return send({ error: "the recommender can't be reached", code: "transformer_away" }, 503);
  if (url.pathname === "/config") return send(CONFIG);
  if (url.pathname === "/recommendations") return send(recommendations(body));
  if (url.pathname === "/explain") return send(explanation(body));
  if (url.pathname === "/search") return send({ ...recommendations(body), server_timing: TIMING });
  if (url.pathname === "/stylist") return stylist(body, response);
  if (url.pathname === "/articles")
    return send({ articles: (url.searchParams.get("ids") ?? "").split(",").map(articleOf) });
  if (url.pathname === "/interactions") return send(interactions(url.searchParams));
  if (url.pathname === "/events") {
    told.push(...body.map((event: Told) => ({ ...event, at: new Date().toISOString() })));
    return send({ accepted: body.length, repeated: 0 }, 202);
  }
  if (url.pathname === "/customers") {
    const search = url.searchParams.get("search") ?? "";
    return send({ customers: CUSTOMERS.filter((each) => each.customer_id.startsWith(search)).slice(0, 12) });
  }
  const [, id] = /^\/customers\/(.+)$/.exec(url.pathname) ?? [];
  if (id) return send(customer(decodeURIComponent(id)));
  send({ error: `no such path: ${url.pathname}`, code: "unknown_route" }, 404);
}

const CONFIG = {
  model: "hemline",
  stylist: true,
  images: null,
  rankers: {
    active: "ranking",
    rankers: [
      { name: "ranking", ready: true, most: null },
      { name: "llmranking", ready: false, most: 20 },
    ],
  },
  last_day: NOW,
};

const TIMING =
  "decode;dur=0.214, infer;dur=14.820, customer;dur=1.104, rank;dur=6.210, retrieve;dur=7.010, encode;dur=0.310, total;dur=15.402";

const touched = (who: string) =>
  new Set(
    told
      .filter(
        (event) => (event.customer_id ?? event.visitor_id) === who && ["purchase", "dismiss"].includes(event.type),
      )
      .map((event) => event.article_id),
  );

function ranked(who: string, k: number): [number, string][] {
  const random = seeded(`${who} ${touched(who).size}`);
  const gone = touched(who);
  const ids = everyId.filter((id) => !gone.has(id)).map((id) => [random(), id] as [number, string]);
  return ids
    .sort(([one], [other]) => other - one)
    .slice(0, k)
    .map(([score, id]) => [Number((score * 0.98).toFixed(4)), id]);
}

function recommendations(instance: { customer_id?: string; k?: number; ranker?: string; query?: string }) {
  const who = instance.customer_id ?? instance.query ?? "";
  const ranking = ranked(who, instance.k ?? 12);
  const llm = instance.ranker === "llmranking";
  const prediction = {
    ranking: llm ? ranking.map(([score, id], at) => [at < 20 ? score : 0, id]) : ranking,
    ranker: llm ? "llmranking" : "ranking",
    list_id: `${llm ? "llmranking" : "ranking"}@3f473c599273/${Math.round(seeded(who)() * 1e15).toString(16)}`,
    model_version: "3f473c599273",
    ...(who.startsWith("visitor-") ? { cold_start: true } : {}),
    ...(llm ? { scored: 20 } : {}),
  };
  return { prediction, articles: articlesOf(ranking.map(([, id]) => id)), server_timing: TIMING };
}

const FEATURES = [
  "age",
  "month_sin",
  "month_cos",
  "price",
  "popularity",
  "days_since_seen",
  "garment_group_name",
  "colour_group_name",
  "index_group_name",
  "bought_alike",
  "retrieval_score",
  "section_name",
];

function explanation(instance: { customer_id?: string; article_id?: string; candidates?: boolean; ranker?: string }) {
  const who = instance.customer_id ?? "";
  const random = seeded(`${who} ${instance.article_id}`);
  const reason =
    instance.ranker === "llmranking"
      ? "Probability: 0.7312. She bought two knitted cardigans this autumn, and this one is in the same soft palette."
      : {
          base: -1.2,
          margin: 1.9,
          contributions: Object.fromEntries(FEATURES.map((name) => [name, (random() - 0.4) * 1.4])),
        };
  const features = Object.fromEntries(
    FEATURES.map((name) => [name, name.endsWith("_name") ? "Knitwear" : Number((random() * 30).toFixed(3))]),
  );
  const one = (article_id: string, at: number) => ({
    article_id,
    score: 0.9 - at / 100,
    retrieval: { sources: ["towers", "alike"], rank: 7 + at, score: 0.7312 },
    features,
    explanation: reason,
  });
  const list = ranked(who, 100);
  const shuffled = list
    .map(([score, id], at) => ({ score, id, key: at + random() * 40 }))
    .sort((a, b) => a.key - b.key);
  const candidates = shuffled.map(({ score, id }, at) => ({
    article_id: id,
    sources: at % 3 === 0 ? ["towers", "popular"] : ["towers"],
    retrieval_rank: at + 1,
    retrieval_score: 0.9 - at / 250,
    score,
  }));
  const own = instance.article_id
    ? {
        article: {
          ...one(instance.article_id, 2),
          step: "listed",
          ranking: { place: 3, score: 0.88, scored: true, k: 12 },
        },
      }
    : {};
  return {
    explanation: {
      ranker: instance.ranker ?? "ranking",
      articles: list.slice(0, 3).map(([, id], at) => one(id, at)),
      ...own,
      ...(instance.candidates ? { candidates } : {}),
    },
    articles: articlesOf(list.map(([, id]) => id)),
    server_timing: TIMING,
  };
}

function customer(id: string) {
  const known = CUSTOMERS.find((each) => each.customer_id === id);
  const random = seeded(id);
  const before = Array.from({ length: known?.purchases ?? 0 }, (_, at) => ({
    article_id: everyId[Math.floor(random() * everyId.length)],
    bought_on: new Date(Date.parse(NOW) - at * 9 * 86_400_000).toISOString().slice(0, 10),
  }));
  const now = told
    .filter((event) => event.type === "purchase" && (event.customer_id ?? event.visitor_id) === id)
    .map((event) => ({ article_id: event.article_id, bought_on: NOW }));
  return {
    customer_id: id,
    known: Boolean(known),
    age: known?.age ?? null,
    purchases: [...now.reverse(), ...before].slice(0, 50),
  };
}

function interactions(query: URLSearchParams) {
  const bucket = query.get("bucket") ?? "minute";
  const length = { minute: 60_000, hour: 3_600_000, day: 86_400_000 }[bucket] ?? 60_000;
  const since = Math.floor(Date.parse(query.get("since") ?? "") / length) * length;
  const series: ({ at: string; ranker: string } & Record<Told["type"], number>)[] = [];
  for (let at = since; at < Date.now(); at += length)
    for (const [ranker, rate] of [
      ["ranking", 1],
      ["llmranking", 0.4],
      ["stylist", 0.2],
    ] as const) {
      const random = seeded(`${at} ${ranker}`);
      const shown = random() < 0.25 ? 0 : Math.round(random() * 60 * rate);
      series.push({
        at: new Date(at).toISOString(),
        ranker,
        shown,
        click: Math.round(shown * 0.2 * random()),
        purchase: Math.round(shown * 0.1 * random()),
        dismiss: Math.round(shown * 0.08 * random()),
      });
    }
  const sum = (rows: typeof series) =>
    rows.reduce(
      (all, row) => ({
        shown: all.shown + row.shown,
        click: all.click + row.click,
        purchase: all.purchase + row.purchase,
        dismiss: all.dismiss + row.dismiss,
      }),
      { shown: 0, click: 0, purchase: 0, dismiss: 0 },
    );
  return {
    since: new Date(since).toISOString(),
    until: new Date().toISOString(),
    bucket,
    totals: sum(series),
    rankers: ["ranking", "llmranking", "stylist"].map((ranker) => ({
      ranker,
      ...sum(series.filter((row) => row.ranker === ranker)),
    })),
    series,
    latest: told
      .slice(-20)
      .reverse()
      .map((event) => ({
        at: event.at,
        kind: event.type,
        article_id: event.article_id,
        customer_id: event.customer_id ?? event.visitor_id,
        list_id: event.list_id ?? null,
      })),
  };
}

const ITEMS = [
  ["👗", "Dress", "A light linen midi dress in a soft colour, for walks along the water", "Dress"],
  ["👙", "Swimwear", "A simple swimsuit with wide straps, quick to dry", "Swimsuit"],
  ["🩴", "Sandals", "Flat sandals that may get wet", "Sandals"],
  ["👜", "Bag", "A roomy straw bag for towels and a book", "Bag"],
];

async function stylist(wish: { customer_id?: string; gender?: string }, response: ServerResponse): Promise<void> {
  response.writeHead(200, { "content-type": "text/event-stream" });
  const event = (name: string, data: unknown) => response.write(`event: ${name}\ndata: ${JSON.stringify(data)}\n\n`);
  const pause = () => new Promise((go) => setTimeout(go, 900));
  const purchases = everyId.slice(3, 8).map((id, at) => ({
    article_id: id,
    name: articleOf(id).prod_name,
    product_type: articleOf(id).product_type_name,
    colour: articleOf(id).colour_group_name,
    days_ago: 4 + at * 9,
  }));
  event("profile", {
    ...(wish.customer_id ? { profile: { age: 34, age_group: "26-35", purchases } } : {}),
    gender: wish.gender,
  });
  for (const [index, [emoji, category, description, type]] of ITEMS.entries()) {
    await pause();
    if (response.destroyed) return;
    const ids = everyId.filter((id) => articleOf(id).product_type_name === type).slice(0, 25);
    event("item", {
      index,
      emoji,
      category,
      description,
      articles: ids.map((id, at) => [0.78 - at / 100, id]),
      details: articlesOf(ids),
    });
  }
  await pause();
  event("summary", { summary: "Easy pieces in calm colours that dry in the sun and still look right at dinner." });
  event("done", {
    list_id: "stylist@3f473c599273/00c0ffee00c0ffee",
    model_version: "3f473c599273",
    llm: "a small model",
  });
  response.end();
}
