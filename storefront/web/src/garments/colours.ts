/** Colours of the data's names, and colours that go with a colour. */

/** Each `colour_group_name` of H&M's data and of generated data, as sRGB. */
export const COLOURS: Readonly<Record<string, string>> = {
  Beige: "#d3bd9c",
  Black: "#26262a",
  Blue: "#3f6cae",
  "Bronze/Copper": "#a8683c",
  Brown: "#75513a",
  "Dark Beige": "#a98c68",
  "Dark Blue": "#26365c",
  "Dark Green": "#2c4a3a",
  "Dark Grey": "#56585d",
  "Dark Orange": "#c0561f",
  "Dark Pink": "#c24a78",
  "Dark Purple": "#4b3163",
  "Dark Red": "#7b2230",
  "Dark Turquoise": "#1e6a70",
  "Dark Yellow": "#c6941f",
  Gold: "#c3a04c",
  Green: "#4a8a55",
  "Greenish Khaki": "#76764e",
  Grey: "#939599",
  "Greyish Beige": "#b6aa98",
  "Khaki Green": "#6c7048",
  "Light Beige": "#e7d9c2",
  "Light Blue": "#a8c6e3",
  "Light Green": "#aed0a2",
  "Light Grey": "#cfd0d2",
  "Light Orange": "#f2b98a",
  "Light Pink": "#f1c6cd",
  "Light Purple": "#c6b4dd",
  "Light Red": "#e2766e",
  "Light Turquoise": "#a2d5d0",
  "Light Yellow": "#f3e5a0",
  Lilac: "#bda6d3",
  Multi: "#d98a6a",
  Mustard: "#c8982c",
  "Off White": "#f4eee2",
  Orange: "#e2803a",
  Other: "#a39a8e",
  "Other Blue": "#5580b5",
  "Other Green": "#6d9b6a",
  "Other Orange": "#dd8d55",
  "Other Pink": "#dd8fa6",
  "Other Purple": "#8765a5",
  "Other Red": "#bb4440",
  "Other Turquoise": "#4fa3a2",
  "Other Yellow": "#e3c558",
  Pink: "#e291ab",
  Purple: "#7d529f",
  Red: "#bf2f35",
  Rust: "#a64f2b",
  Silver: "#b9bcc3",
  Transparent: "#e6edf0",
  Turquoise: "#3fa7a8",
  Unknown: "#b3aa9e",
  White: "#fbfaf8",
  Yellow: "#edca4c",
  "Yellowish Brown": "#9a6f38",
};

/** Each `perceived_colour_master_name`, for a colour group that nobody has heard of. */
export const MASTERS: Readonly<Record<string, string>> = {
  Beige: "#d3bd9c",
  Black: "#26262a",
  Blue: "#3f6cae",
  "Bluish Green": "#2f7f78",
  Brown: "#75513a",
  Green: "#4a8a55",
  Grey: "#939599",
  "Khaki green": "#76764e",
  "Lilac Purple": "#9d80c0",
  Metal: "#b9b4a6",
  Mole: "#8d8073",
  Orange: "#e2803a",
  Pink: "#e291ab",
  Red: "#bf2f35",
  Turquoise: "#3fa7a8",
  Unknown: "#b3aa9e",
  White: "#fbfaf8",
  Yellow: "#edca4c",
  "Yellowish Green": "#a2ab4e",
  undefined: "#b3aa9e",
};

const NEUTRAL = "#b3aa9e";

/** The colour of an article: of its colour group, else of its master colour, else of cloth that is not dyed. */
export function colourOf(group: string, master: string): string {
  return own(COLOURS, group) ?? own(MASTERS, master) ?? NEUTRAL;
}

/** A table's own entry: a name from the data may be `constructor`. */
const own = (table: Readonly<Record<string, string>>, name: string) =>
  Object.hasOwn(table, name) ? table[name] : undefined;

type Rgb = [red: number, green: number, blue: number];

const rgb = (hex: string): Rgb => [1, 3, 5].map((at) => Number.parseInt(hex.slice(at, at + 2), 16)) as Rgb;

const hex = (colour: number[]) =>
  `#${colour
    .map((part) =>
      Math.round(Math.min(255, Math.max(0, part)))
        .toString(16)
        .padStart(2, "0"),
    )
    .join("")}`;

/** `share` of the other colour in the one. */
export function mixed(one: string, other: string, share: number): string {
  const towards = rgb(other);
  return hex(rgb(one).map((part, at) => part + ((towards[at] ?? 0) - part) * share));
}

/** Relative luminance as WCAG has it, 0 to 1. */
export function luminance(colour: string): number {
  const [red, green, blue] = rgb(colour).map((part) => {
    const share = part / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  }) as Rgb;
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

/** Seams and outlines on cloth: darker than it, or lighter where it is dark already. */
export const seamOf = (colour: string) =>
  luminance(colour) < 0.06 ? mixed(colour, "#ffffff", 0.3) : mixed(colour, "#1c1512", 0.34);

/** What a print on cloth is drawn in: it must be seen on it. */
export const inkOf = (colour: string) =>
  luminance(colour) > 0.35 ? mixed(colour, "#2a2024", 0.62) : mixed(colour, "#fff8ee", 0.72);

/** The wall behind an article: a breath of its colour, and never so near that it is lost. */
export function wallOf(colour: string): string {
  const light = luminance(colour);
  if (light > 0.72) return mixed("#dcd3c6", colour, 0.06);
  return mixed("#efe8dd", colour, light < 0.06 ? 0.05 : 0.13);
}

/** Further colours of a print, for variety that is the same at every visit. */
const ACCENTS = ["#c9563f", "#e3b04b", "#2f6f6d", "#d98aa0", "#3d5a98", "#6d8f5a", "#8b4a6b", "#e8ddc8"];

export function accentOf(seed: number, colour: string): string {
  const first = ACCENTS[seed % ACCENTS.length] ?? NEUTRAL;
  const near = Math.abs(luminance(first) - luminance(colour)) < 0.09;
  return near ? (ACCENTS[(seed + 3) % ACCENTS.length] ?? first) : first;
}

/** A small number that is always the same for a text. */
export function seedOf(text: string): number {
  let seed = 2166136261;
  for (let at = 0; at < text.length; at++) seed = Math.imul(seed ^ text.charCodeAt(at), 16777619);
  return seed >>> 0;
}
