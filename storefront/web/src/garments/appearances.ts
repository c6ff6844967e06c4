/** How `graphical_appearance_name` is drawn. */

/** How an appearance is drawn. */
export type Look =
  | "plain"
  | "stripe"
  | "dot"
  | "check"
  | "print"
  | "geometry"
  | "melange"
  | "denim"
  | "weave"
  | "lace"
  | "mesh"
  | "blocks"
  | "motif"
  | "flower"
  | "sequin"
  | "glitter"
  | "jacquard"
  | "argyle"
  | "rib"
  | "wash"
  | "shine"
  | "sheer"
  | "patch";

/** Each `graphical_appearance_name` of H&M's data and of generated data. */
export const APPEARANCES: Readonly<Record<string, Look>> = {
  "All over pattern": "print",
  "Application/3D": "flower",
  Argyle: "argyle",
  Chambray: "weave",
  Check: "check",
  "Colour blocking": "blocks",
  Contrast: "blocks",
  Denim: "denim",
  Dot: "dot",
  Embroidery: "flower",
  "Front print": "motif",
  Glittering: "glitter",
  "Glittering/Metallic": "glitter",
  Hologram: "shine",
  Jacquard: "jacquard",
  Lace: "lace",
  Melange: "melange",
  Mesh: "mesh",
  Metallic: "shine",
  "Mixed solid/pattern": "patch",
  Neps: "melange",
  "Other pattern": "geometry",
  "Other structure": "rib",
  "Placement print": "motif",
  Sequin: "sequin",
  Slub: "weave",
  Solid: "plain",
  Stripe: "stripe",
  Transparent: "sheer",
  Treatment: "wash",
  Unknown: "plain",
};

export const lookOf = (appearance: string): Look =>
  Object.hasOwn(APPEARANCES, appearance) ? (APPEARANCES[appearance] ?? "plain") : "plain";
