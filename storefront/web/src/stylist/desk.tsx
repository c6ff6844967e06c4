/** Where the stylist is asked: words, for whom, and with what is known of them. */
import { useEffect, useId, useState } from "preact/hooks";
import type { Gender } from "../api/shapes";
import type { Question } from "../pages/stylist";
import { type Shopper, shortId } from "../shopper/shopper";

/** The most characters of a request. */
const MOST = 2_000;

const GENDERS: [Gender, string][] = [
  ["women", "Women"],
  ["men", "Men"],
  ["any", "Anybody"],
];

const PRESETS: { name: string; words: string; personal?: boolean }[] = [
  { name: "A week at the beach", words: "I'm going to the beach for a week. What do I need?" },
  { name: "A formal winter wedding", words: "I have a formal winter wedding next month. What should I wear?" },
  { name: "A casual tech start-up", words: "I start at a casual tech start-up next week. What do people wear there?" },
  { name: "Like last month, but lighter", words: "Similar to what I bought last month, but lighter.", personal: true },
];

interface Props {
  customer: Shopper | null;
  coming: boolean;
  onAsk(question: Question): void;
  onStop(): void;
}

export function Desk({ customer, coming, onAsk, onStop }: Props) {
  const id = useId();
  const [words, setWords] = useState("");
  const [gender, setGender] = useState<Gender>("women");
  const [mode, setMode] = useState<Question["mode"]>("outfit");
  const [personal, setPersonal] = useState(true);
  // What counts is characters, not the halves that JavaScript counts.
  const length = [...words].length;
  const usable = words.trim() !== "" && length <= MOST;

  const send = (question: Partial<Question> = {}) =>
    onAsk({ words: words.trim(), gender, mode, personal: personal && customer !== null, ...question });

  return (
    <form
      class="desk"
      onSubmit={(event) => {
        event.preventDefault();
        if (usable && !coming) send();
      }}
    >
      <div class="desk-top">
        <Choice legend="For" name="gender" options={GENDERS} value={gender} onChange={(next) => setGender(next)} />
        <Choice
          legend="How"
          name="mode"
          options={[
            ["outfit", "Compose an outfit"],
            ["search", "Just search"],
          ]}
          value={mode}
          onChange={(next) => setMode(next)}
        />
        <label class="tick">
          <input
            type="checkbox"
            checked={personal && customer !== null}
            disabled={customer === null}
            onChange={(event) => setPersonal(event.currentTarget.checked)}
          />
          <span>
            {customer
              ? `Use what is known of ${shortId(customer.id)}`
              : "Choose who shops on “For you” to use their profile"}
          </span>
        </label>
      </div>
      <ul class="presets" aria-label="Requests to begin with">
        {PRESETS.map((preset) => (
          <li key={preset.name}>
            <button
              type="button"
              disabled={coming || (preset.personal && customer === null)}
              onClick={() => {
                setWords(preset.words);
                setMode("outfit");
                if (preset.personal) setPersonal(true);
                send({ words: preset.words, mode: "outfit", ...(preset.personal ? { personal: true } : {}) });
              }}
            >
              {preset.name}
            </button>
          </li>
        ))}
      </ul>
      <label for={id} class="desk-label">
        {mode === "outfit" ? "Tell the stylist what it is for" : "What are you looking for?"}
      </label>
      <textarea
        id={id}
        rows={2}
        dir="auto"
        value={words}
        placeholder={
          mode === "outfit" ? "A long train ride, then dinner by the sea…" : "A warm green jumper with a wide collar"
        }
        aria-describedby={`${id}-count`}
        aria-invalid={length > MOST}
        onInput={(event) => setWords(event.currentTarget.value)}
        onKeyDown={(event) => {
          if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) event.currentTarget.form?.requestSubmit();
        }}
      />
      <div class="desk-end">
        <p id={`${id}-count`} class={length > MOST ? "fine over" : "fine"} data-testid="counter">
          {length} of {MOST} characters{length > MOST ? ": too many" : ""}
        </p>
        {coming && <Elapsed />}
        {/* Keys: one button that turned into the other while it is pressed would send the form. */}
        {coming ? (
          <button key="stop" type="button" class="button quietly" onClick={onStop}>
            Stop
          </button>
        ) : (
          <button key="ask" type="submit" class="button" disabled={!usable}>
            {mode === "outfit" ? "Ask the stylist" : "Search"}
          </button>
        )}
      </div>
    </form>
  );
}

interface ChoiceProps<T extends string> {
  legend: string;
  name: string;
  options: [T, string][];
  value: T;
  onChange(value: T): void;
}

export function Choice<T extends string>({ legend, name, options, value, onChange }: ChoiceProps<T>) {
  return (
    <fieldset class="switch">
      <legend>{legend}</legend>
      {options.map(([each, label]) => (
        <label key={each}>
          <input type="radio" name={name} value={each} checked={value === each} onChange={() => onChange(each)} />
          <span>{label}</span>
        </label>
      ))}
    </fieldset>
  );
}

function Elapsed() {
  const [seconds, setSeconds] = useState(0);
  useEffect(() => {
    const began = Date.now();
    const timer = setInterval(() => setSeconds(Math.round((Date.now() - began) / 1_000)), 500);
    return () => clearInterval(timer);
  }, []);
  return (
    <p class="fine elapsed" role="timer">
      Thinking, {seconds} s
    </p>
  );
}
