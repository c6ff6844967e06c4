/** Counts over time, with the moments at which nothing happened. */
import { type Bucket, type Counts, type Interactions, KINDS } from "../api/shapes";

const LENGTH: Record<Bucket, number> = { minute: 60_000, hour: 3_600_000, day: 86_400_000 };

export interface Moment extends Counts {
  /** Milliseconds since 1970: where the bucket begins. */
  at: number;
}

export const nothing = (): Counts => ({ shown: 0, click: 0, purchase: 0, dismiss: 0 });

/** Every bucket from `since` to `until`, of all rankers together or of one. */
export function filled(answer: Pick<Interactions, "since" | "until" | "bucket" | "series">, ranker?: string): Moment[] {
  const length = LENGTH[answer.bucket];
  const first = Math.floor(Date.parse(answer.since) / length) * length;
  const last = Date.parse(answer.until);
  const moments = new Map<number, Moment>();
  // The server answers 1,000 buckets at most; a clock that is far off must not fill the memory.
  for (let at = first; at <= last && moments.size < 1_100; at += length) moments.set(at, { at, ...nothing() });
  for (const row of answer.series) {
    if (ranker !== undefined && row.ranker !== ranker) continue;
    const moment = moments.get(Math.floor(Date.parse(row.at) / length) * length);
    if (moment) for (const kind of KINDS) moment[kind] += row[kind];
  }
  return [...moments.values()];
}

/** A moment as an axis or a table says it. */
export function momentName(at: number, bucket: Bucket): string {
  const options: Intl.DateTimeFormatOptions =
    bucket === "day" ? { day: "numeric", month: "short" } : { hour: "2-digit", minute: "2-digit" };
  return new Intl.DateTimeFormat("en-GB", options).format(at);
}
