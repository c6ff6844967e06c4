/** Who orders the list. */
import { setParameters } from "../route";
import { config, ranker } from "../shop";

/** A ranker's name in words, where it follows the usual names. */
function inWords(name: string): string {
  if (/llm/i.test(name)) return "Language model";
  if (/^(ranking|gbdt|catboost)$/i.test(name)) return "Boosted trees";
  return name;
}

export function RankerSwitch() {
  const known = config.value?.rankers;
  // One ranker is no choice.
  if (!known || known.rankers.length < 2) return null;
  const active = known.rankers.find((each) => each.name === known.active);
  const options = [{ name: "", ready: active?.ready ?? true, most: active?.most ?? null }, ...known.rankers];
  return (
    <fieldset class="switch" data-testid="ranker-switch">
      <legend>Ranker</legend>
      {options.map(({ name, ready, most }) => (
        <label
          key={name}
          title={name ? rankerTitle(name, ready, most) : `The shop's choice, at the moment ${known.active}`}
        >
          <input
            type="radio"
            name="ranker"
            value={name}
            checked={(ranker.value ?? "") === name}
            onChange={() => setParameters({ ranker: name || null })}
          />
          <span>
            {name ? inWords(name) : "Shop's choice"}
            {name && inWords(name) !== name && <code>{name}</code>}
            {name && !ready && <em>away</em>}
          </span>
        </label>
      ))}
    </fieldset>
  );
}

const rankerTitle = (name: string, ready: boolean, most: number | null) =>
  [name, ready ? "ready" : "not ready", most ? `scores the first ${most}` : ""].filter(Boolean).join(", ");
