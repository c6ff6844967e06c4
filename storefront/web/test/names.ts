/** Every name that H&M's data have, and those that generated data have beside them. */

const lines = (text: string) =>
  text
    .split("|")
    .map((name) => name.trim())
    .filter(Boolean);

export const COLOUR_GROUPS =
  lines(`Beige | Black | Blue | Bronze/Copper | Dark Beige | Dark Blue | Dark Green | Dark Grey |
  Dark Orange | Dark Pink | Dark Purple | Dark Red | Dark Turquoise | Dark Yellow | Gold | Green | Greenish Khaki | Grey |
  Greyish Beige | Light Beige | Light Blue | Light Green | Light Grey | Light Orange | Light Pink | Light Purple | Light Red |
  Light Turquoise | Light Yellow | Off White | Orange | Other | Other Blue | Other Green | Other Orange | Other Pink |
  Other Purple | Other Red | Other Turquoise | Other Yellow | Pink | Purple | Red | Silver | Transparent | Turquoise | Unknown |
  White | Yellow | Yellowish Brown | Khaki Green | Brown | Lilac | Mustard | Rust | Multi`);

export const MASTER_COLOURS =
  lines(`Beige | Black | Blue | Bluish Green | Brown | Green | Grey | Khaki green | Lilac Purple | Metal |
  Mole | Orange | Pink | Red | Turquoise | Unknown | White | Yellow | Yellowish Green | undefined`);

export const APPEARANCE_NAMES =
  lines(`All over pattern | Application/3D | Argyle | Chambray | Check | Colour blocking | Contrast |
  Denim | Dot | Embroidery | Front print | Glittering/Metallic | Hologram | Jacquard | Lace | Melange | Mesh | Metallic |
  Mixed solid/pattern | Neps | Other pattern | Other structure | Placement print | Sequin | Slub | Solid | Stripe | Transparent |
  Treatment | Unknown | Glittering`);

export const GROUP_NAMES =
  lines(`Accessories | Bags | Cosmetic | Fun | Furniture | Garment and Shoe care | Garment Full body |
  Garment Lower body | Garment Upper body | Interior textile | Items | Nightwear | Shoes | Socks & Tights | Stationery | Swimwear |
  Underwear | Underwear/nightwear | Unknown`);

export const PRODUCT_TYPES =
  lines(`Accessories set | Alice band | Baby Bib | Backpack | Bag | Ballerinas | Beanie | Belt | Bikini top |
  Blanket | Blazer | Blouse | Bodysuit | Bootie | Boots | Bra | Bra extender | Bracelet | Braces | Bucket hat | Bumbag | Cap |
  Cap/peaked | Cardigan | Chem. cosmetics | Clothing mist | Coat | Costumes | Cross-body bag | Cushion | Dog Wear | Dog wear |
  Dress | Dungarees | Earring | Earrings | Eyeglasses | Felt hat | Fine cosmetics | Flat shoe | Flat shoes | Flip flop |
  Garment Set | Giftbox | Gloves | Hair clip | Hair string | Hair ties | Hair/alice band | Hairband | Hat/beanie | Hat/brim |
  Headband | Heeled sandals | Heels | Hoodie | Jacket | Jumpsuit/Playsuit | Keychain | Kids Underwear top | Leg warmers |
  Leggings/Tights | Long John | Marker pen | Mobile case | Moccasins | Necklace | Night gown | Nipple covers |
  Other accessories | Other shoe | Outdoor Waistcoat | Outdoor overall | Outdoor trousers | Polo shirt | Pre-walkers | Pumps |
  Pyjama bottom | Pyjama jumpsuit/playsuit | Pyjama set | Ring | Robe | Sandals | Sarong | Scarf | Sewing kit | Shirt | Shorts |
  Shoulder bag | Side table | Skirt | Sleep Bag | Sleeping sack | Slippers | Sneakers | Socks | Soft Toys | Stain remover spray |
  Straw hat | Sunglasses | Sweater | Swimsuit | Swimwear bottom | Swimwear set | Swimwear top | T-shirt | Tailored Waistcoat | Tie |
  Top | Tote bag | Towel | Toy | Trousers | Umbrella | Underdress | Underwear Tights | Underwear body | Underwear bottom |
  Underwear corset | Underwear set | Unknown | Vest top | Wallet | Washing bag | Watch | Waterbottle | Wedge | Weekend/Gym bag |
  Wireless earphone case | Wood balls | Zipper head | Bikini bottom | Boxers | Briefs | Hat | Jeans | Joggers | Jumpsuit |
  Leggings | Nightdress | Outdoor waistcoat | Swim shorts | Tights`);
