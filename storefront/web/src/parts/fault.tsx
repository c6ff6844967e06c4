/** What is shown in the place of what could not be had. */
import type { Failure } from "../api/client";

interface Props {
  title: string;
  failure: Failure | null;
  retry: () => void;
  /** Within a page whose heading stands already. */
  small?: boolean;
}

const ADVICE: Record<string, string> = {
  transformer_away: "The shop is open, but the recommender behind it does not answer. It may be starting.",
  network: "Your browser could not reach the shop.",
  timeout: "The shop took longer than anybody should wait.",
  upstream_timeout: "The recommender took longer than anybody should wait.",
  deadline_exceeded: "The recommender took longer than anybody should wait.",
  overloaded: "Many people are here at the moment. A second try in a moment helps.",
  upstream_overloaded: "Many people are here at the moment. A second try in a moment helps.",
  forbidden: "This shop does not show its customers.",
};

export function Fault({ title, failure, retry, small }: Props) {
  const Title = small ? "h2" : "h1";
  return (
    <section class={small ? "fault small" : "fault"} role="alert" data-testid="fault">
      <span class="fault-art" aria-hidden="true" />
      <Title>{title}</Title>
      <p>{(failure && ADVICE[failure.code]) ?? "Something went wrong that should not. Trying again is safe."}</p>
      {failure && (
        <p class="fine" dir="auto">
          {failure.message} <code>{failure.code}</code>
        </p>
      )}
      <button type="button" class="button" onClick={retry}>
        Try again
      </button>
    </section>
  );
}
