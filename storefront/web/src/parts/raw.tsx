/** A request and its answer, as they went over the wire, and the same for a terminal. */
import { say } from "../shop";

export function Raw(props: { name: string; path: string; request: unknown; response: unknown }) {
  const { name, path, request, response } = props;
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(curl(new URL(path, location.href).href, request));
      say("Copied as curl.");
    } catch {
      say("This browser does not let pages copy here. The request stands below.");
    }
  };
  return (
    <div class="raw">
      <div class="raw-head">
        <h3>{name}</h3>
        <code>POST {path}</code>
        <button type="button" class="plain" onClick={copy}>
          Copy as curl
        </button>
      </div>
      <Json label={`${name}: request`} value={request} open />
      <Json label={`${name}: response`} value={response} />
    </div>
  );
}

function Json({ label, value, open }: { label: string; value: unknown; open?: boolean }) {
  return (
    <details open={open ?? false}>
      <summary>{label}</summary>
      <pre tabIndex={0}>{JSON.stringify(value, null, 2)}</pre>
    </details>
  );
}

/** The request for a shell: single quotes end no argument. */
export const curl = (address: string, body: unknown) =>
  `curl -s ${quoted(address)} -H 'content-type: application/json' -d ${quoted(JSON.stringify(body))}`;

const quoted = (text: string) => `'${text.replaceAll("'", `'\\''`)}'`;
