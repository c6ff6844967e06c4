/** Asking the storefront server: every question has a deadline, and every failure says what happened. */
import type {
  Article,
  Articles,
  Bucket,
  Config,
  Customer,
  CustomerDetails,
  Explanations,
  Instance,
  Interactions,
  Prediction,
  Recommendations,
} from "./shapes";

/** The longest that the browser waits, in ms, where a question does not say otherwise. */
const PATIENCE = 15_000;

/** Why there is no answer: in words for people, with the protocol's code for engineers. */
export class Failure extends Error {
  constructor(
    message: string,
    /** The envelope's code, or `network`, `timeout`, `aborted`, `unreadable`. */
    readonly code: string,
    /** 0 where there was no answer at all. */
    readonly status = 0,
    /** Seconds that the server wants to be left alone. */
    readonly retryAfter: number | null = null,
  ) {
    super(message);
    this.name = "Failure";
  }

  /** Whether the shop's recommender is away, and not just this question refused. */
  get away(): boolean {
    return this.status === 0 || this.status === 502 || this.status === 503 || this.status === 504;
  }
}

/** What failed as a [`Failure`], whatever was thrown. */
export function failureOf(thrown: unknown): Failure {
  if (thrown instanceof Failure) return thrown;
  const name = thrown instanceof Error ? thrown.name : "";
  if (name === "TimeoutError") return new Failure("The shop did not answer in time.", "timeout");
  if (name === "AbortError") return new Failure("This question is no longer of interest.", "aborted");
  return new Failure("The shop can't be reached. Is this device online?", "network");
}

/** The failure that an answer tells of: its envelope, or its status where there is none. */
export async function refusal(response: Response): Promise<Failure> {
  const seconds = Number(response.headers.get("retry-after") ?? Number.NaN);
  const retryAfter = Number.isFinite(seconds) ? seconds : null;
  let envelope: { error?: unknown; code?: unknown } = {};
  try {
    envelope = (await response.json()) as typeof envelope;
  } catch {
    // An answer of something between us and the server.
  }
  const message = typeof envelope?.error === "string" ? envelope.error : `The shop answered ${response.status}.`;
  const code = typeof envelope?.code === "string" ? envelope.code : `http_${response.status}`;
  return new Failure(message, code, response.status, retryAfter);
}

export interface Asking {
  signal?: AbortSignal | undefined;
  /** Longest wait in ms. */
  patience?: number;
}

/** The answer to a question, while it is wanted and in time. */
export async function ask(path: string, init: RequestInit, asking: Asking = {}): Promise<Response> {
  const deadline = AbortSignal.timeout(asking.patience ?? PATIENCE);
  const signal = asking.signal ? AbortSignal.any([asking.signal, deadline]) : deadline;
  let response: Response;
  try {
    response = await fetch(path, { ...init, signal });
  } catch (thrown) {
    throw failureOf(thrown);
  }
  if (!response.ok) throw await refusal(response);
  return response;
}

async function json<T>(path: string, init: RequestInit, asking: Asking): Promise<T> {
  const response = await ask(path, init, asking);
  try {
    return (await response.json()) as T;
  } catch (thrown) {
    const failure = failureOf(thrown);
    throw failure.code === "network" ? new Failure("The shop's answer can't be read.", "unreadable", 502) : failure;
  }
}

const get = <T>(path: string, asking: Asking = {}) => json<T>(path, {}, asking);

/** What makes a request of a body. */
export const posting = (body: unknown): RequestInit => ({
  method: "POST",
  headers: { "content-type": "application/json" },
  body: JSON.stringify(body),
});

const post = <T>(path: string, body: unknown, asking: Asking = {}) => json<T>(path, posting(body), asking);

export const config = (asking?: Asking) => get<Config>("/api/config", asking);

/** A language model may rank, and takes its time. */
const UNHURRIED = 70_000;

const BLANK: Omit<Article, "article_id"> = {
  prod_name: "",
  detail_desc: "",
  product_type_name: "",
  product_group_name: "",
  colour_group_name: "",
  perceived_colour_master_name: "",
  perceived_colour_value_name: "",
  graphical_appearance_name: "",
  department_name: "",
  section_name: "",
  index_group_name: "",
  garment_group_name: "",
  price: null,
  in_stock: true,
};

/** Articles with every text: what a bundle does not have is left out of an answer. */
export const completed = (articles: Articles): Articles =>
  Object.fromEntries(
    Object.entries(articles).map(([id, article]) => [id, { ...BLANK, ...article, prod_name: article.prod_name || id }]),
  );

async function posted<T extends { articles: Articles }>(path: string, body: unknown, asking?: Asking): Promise<T> {
  const answer = await post<T>(path, body, { patience: UNHURRIED, ...asking });
  return { ...answer, articles: completed(answer.articles) };
}

export const recommend = (instance: Instance, asking?: Asking) =>
  posted<Recommendations>("/api/recommendations", instance, asking);

export const explain = (instance: Instance, asking?: Asking) => posted<Explanations>("/api/explain", instance, asking);

export const search = (instance: Record<string, unknown>, asking?: Asking) =>
  posted<{ prediction: Prediction; articles: Articles; server_timing: string | null }>("/api/search", instance, asking);

/** What articles are, by id; those that nobody knows are left out. */
export async function articles(ids: string[], asking?: Asking): Promise<Articles> {
  if (ids.length === 0) return {};
  const told = await get<{ articles: Article[] }>(
    `/api/articles?${new URLSearchParams({ ids: ids.join(",") })}`,
    asking,
  );
  return completed(Object.fromEntries(told.articles.map((article) => [article.article_id, article])));
}

export const customers = (prefix: string, limit: number, asking?: Asking) =>
  get<{ customers: Customer[] }>(
    `/api/customers?${new URLSearchParams({ search: prefix, limit: `${limit}` })}`,
    asking,
  );

export const customer = (id: string, asking?: Asking) =>
  get<CustomerDetails>(`/api/customers/${encodeURIComponent(id)}`, asking);

export const interactions = (since: string, bucket: Bucket, asking?: Asking) =>
  get<Interactions>(`/api/interactions?${new URLSearchParams({ since, bucket })}`, asking);
