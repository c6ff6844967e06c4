/** Which drawing an article has: by its type, else by its group. */

export type Family = keyof typeof TYPES | "generic";

/** The `product_type_name`s of each drawing: H&M's, and those of generated data. */
const TYPES = {
  tshirt: ["T-shirt", "Kids Underwear top"],
  top: ["Top"],
  polo: ["Polo shirt"],
  vest: ["Vest top", "Nipple covers"],
  shirt: ["Shirt"],
  blouse: ["Blouse"],
  sweater: ["Sweater"],
  cardigan: ["Cardigan"],
  hoodie: ["Hoodie"],
  jacket: ["Jacket"],
  blazer: ["Blazer"],
  coat: ["Coat"],
  waistcoat: ["Outdoor Waistcoat", "Tailored Waistcoat", "Outdoor waistcoat"],
  dress: ["Dress", "Underdress", "Costumes"],
  nightdress: ["Night gown", "Nightdress"],
  robe: ["Robe"],
  skirt: ["Skirt", "Sarong"],
  trousers: ["Trousers", "Outdoor trousers", "Pyjama bottom", "Joggers"],
  jeans: ["Jeans"],
  shorts: ["Shorts", "Swim shorts"],
  leggings: ["Leggings/Tights", "Leggings", "Long John", "Leg warmers"],
  tights: ["Underwear Tights", "Tights"],
  jumpsuit: [
    "Jumpsuit/Playsuit",
    "Jumpsuit",
    "Pyjama jumpsuit/playsuit",
    "Outdoor overall",
    "Sleep Bag",
    "Sleeping sack",
  ],
  dungarees: ["Dungarees"],
  bodysuit: ["Bodysuit", "Underwear body"],
  bra: ["Bra", "Underwear set", "Underwear corset", "Bra extender"],
  briefs: ["Underwear bottom", "Briefs", "Swimwear bottom", "Bikini bottom"],
  boxers: ["Boxers"],
  bikini: ["Bikini top", "Swimwear top", "Swimwear set"],
  swimsuit: ["Swimsuit"],
  pyjamas: ["Pyjama set", "Garment Set"],
  socks: ["Socks"],
  sneakers: ["Sneakers", "Other shoe", "Pre-walkers"],
  boots: ["Boots", "Bootie"],
  sandals: ["Sandals", "Flip flop", "Slippers"],
  pumps: ["Pumps", "Heeled sandals", "Wedge", "Heels"],
  flats: ["Flat shoe", "Flat shoes", "Ballerinas", "Moccasins"],
  bag: [
    "Bag",
    "Cross-body bag",
    "Shoulder bag",
    "Tote bag",
    "Weekend/Gym bag",
    "Clutch",
    "Bumbag",
    "Washing bag",
    "Giftbox",
  ],
  backpack: ["Backpack"],
  wallet: ["Wallet", "Mobile case", "Wireless earphone case"],
  hat: ["Hat/brim", "Straw hat", "Felt hat", "Bucket hat", "Hat"],
  beanie: ["Hat/beanie", "Beanie"],
  cap: ["Cap/peaked", "Cap"],
  scarf: ["Scarf"],
  belt: ["Belt", "Braces"],
  tie: ["Tie"],
  gloves: ["Gloves"],
  necklace: ["Necklace"],
  earrings: ["Earring", "Earrings"],
  ring: ["Ring", "Bracelet"],
  watch: ["Watch"],
  sunglasses: ["Sunglasses", "Eyeglasses"],
  hair: ["Hair clip", "Hair string", "Hair/alice band", "Alice band", "Hair ties", "Hairband", "Headband"],
  umbrella: ["Umbrella"],
  textile: ["Towel", "Blanket", "Cushion", "Baby Bib", "Dog Wear", "Dog wear"],
  bottle: ["Waterbottle", "Fine cosmetics", "Chem. cosmetics", "Clothing mist", "Stain remover spray"],
  toy: ["Soft Toys", "Toy"],
  tool: ["Zipper head", "Sewing kit", "Wood balls", "Keychain", "Key ring", "Marker pen", "Side table"],
} as const;

/** What stands for a type that nobody has heard of, by `product_group_name`. */
export const GROUPS: Readonly<Record<string, Family>> = {
  Accessories: "bag",
  Bags: "bag",
  Cosmetic: "bottle",
  Fun: "toy",
  Furniture: "tool",
  "Garment Full body": "dress",
  "Garment Lower body": "trousers",
  "Garment Upper body": "tshirt",
  "Garment and Shoe care": "bottle",
  "Interior textile": "textile",
  Items: "tool",
  Nightwear: "pyjamas",
  Shoes: "sneakers",
  "Socks & Tights": "socks",
  Stationery: "tool",
  Swimwear: "swimsuit",
  Underwear: "briefs",
  "Underwear/nightwear": "nightdress",
  Unknown: "generic",
};

const BY_TYPE = new Map<string, Family>(
  Object.entries(TYPES).flatMap(([family, types]) => types.map((type) => [type.toLowerCase(), family as Family])),
);

export const FAMILIES: readonly Family[] = [...(Object.keys(TYPES) as Family[]), "generic"];

/** The drawing of an article. Denim trousers are jeans: H&M's data call both "Trousers". */
export function familyOf(type: string, group: string, appearance = ""): Family {
  const family =
    BY_TYPE.get(type.toLowerCase()) ?? (Object.hasOwn(GROUPS, group) ? GROUPS[group] : undefined) ?? "generic";
  return family === "trousers" && appearance === "Denim" ? "jeans" : family;
}

/** Every `product_type_name` that has a drawing of its own. */
export const TYPE_NAMES: readonly string[] = Object.values(TYPES).flat();
