/** Made-up articles and customers. */
import { APPEARANCES } from "../src/garments/appearances.ts";
import { COLOURS, seedOf } from "../src/garments/colours.ts";

export const NOW = "2020-09-22";

/** Numbers from 0 to 1 that are always the same for a text. */
export function seeded(text: string): () => number {
  let state = seedOf(text);
  return () => {
    state = (Math.imul(state ^ (state >>> 15), 2246822519) + 0x9e3779b9) >>> 0;
    const mixed = Math.imul(state ^ (state >>> 13), 3266489917) >>> 0;
    return ((mixed ^ (mixed >>> 16)) >>> 0) / 2 ** 32;
  };
}

const TYPES = [
  "Sweater",
  "Dress",
  "T-shirt",
  "Trousers",
  "Blouse",
  "Jacket",
  "Skirt",
  "Cardigan",
  "Coat",
  "Hoodie",
  "Blazer",
  "Shirt",
  "Sneakers",
  "Boots",
  "Bag",
  "Scarf",
  "Hat/beanie",
  "Earring",
  "Swimsuit",
  "Sandals",
  "Shorts",
  "Vest top",
  "Bodysuit",
  "Jumpsuit/Playsuit",
  "Bra",
  "Pyjama set",
  "Sunglasses",
  "Belt",
];
const NAMES = [
  "Fia",
  "Per",
  "Luna",
  "Odd",
  "Saga",
  "Rio",
  "Vera",
  "Ines",
  "Noor",
  "Mika",
  "Elba",
  "Tove",
  "Alma",
  "Juno",
  "Kaia",
];
const LOOKS = [
  "Solid",
  "Solid",
  "Solid",
  "Solid",
  "Melange",
  "Stripe",
  "All over pattern",
  ...Object.keys(APPEARANCES),
];

export const everyId = Array.from(
  { length: 900 },
  (_, at) => `0${500_000 + at * 7}${String((at % 9) + 1).padStart(3, "0")}`,
);

export function articleOf(id: string) {
  const random = seeded(id);
  const pick = <T>(list: readonly T[]) => list[Math.floor(random() * list.length)] as T;
  const type = pick(TYPES);
  const colour = pick(Object.keys(COLOURS));
  const name = pick(NAMES);
  return {
    article_id: id,
    prod_name: random() < 0.01 ? "<b>Bold</b> & مرحبا" : `${name} ${type.split("/")[0]?.toLowerCase()}`,
    detail_desc: `${type} in a soft weave with a straight hem. Made to be worn often, and washed at low heat.`,
    product_type_name: type,
    product_group_name: "Garment Upper body",
    colour_group_name: colour,
    perceived_colour_master_name: "Blue",
    perceived_colour_value_name: "Dusty Light",
    graphical_appearance_name: pick(LOOKS),
    department_name: "Everyday",
    section_name: "Womens Everyday Collection",
    index_group_name: "Ladieswear",
    garment_group_name: "Knitwear",
    price: random() < 0.1 ? null : Number((0.008 + random() * 0.08).toFixed(4)),
    in_stock: true,
  };
}

export const articlesOf = (ids: string[]) => Object.fromEntries(ids.map((id) => [id, articleOf(id)]));

export const CUSTOMERS = Array.from({ length: 40 }, (_, at) => {
  const random = seeded(`customer ${at}`);
  const id = Array.from({ length: 64 }, () => Math.floor(random() * 16).toString(16)).join("");
  return {
    customer_id: id,
    age: random() < 0.05 ? null : 18 + Math.floor(random() * 55),
    club_member_status: "ACTIVE",
    purchases: Math.floor(random() * 40),
  };
});
