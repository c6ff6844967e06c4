"""Articles for the generator: a fashion vocabulary, and a catalogue drawn from it in H&M's schema.

An article is drawn top down, so that its attributes agree with each other: index group → index → product type
(of those that the index sells) → line → department and section; then colours and a pattern. Articles of one
product differ in colour and, at times, in pattern: article_id = product_code (7 digits) + colour variant (3
digits).
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from hemline import schema

# Code, number and name of the index group, share of products, and its indexes (code, name, share, what it
# sells).
INDEX_GROUPS = (
    (1, "Ladieswear", 0.40, (("A", "Ladieswear", 0.72, "L"), ("B", "Lingerie & Tights", 0.16, "U"),
                             ("C", "Ladies Accessories", 0.12, "X"))),
    (2, "Divided", 0.20, (("D", "Divided", 1.0, "LX"),)),
    (3, "Menswear", 0.16, (("F", "Menswear", 1.0, "M"),)),
    (4, "Baby/Children", 0.18, (("G", "Baby Sizes 50-98", 0.35, "K"),
                                ("H", "Children Sizes 92-140", 0.37, "K"),
                                ("I", "Children Sizes 134-170", 0.28, "K"))),
    (26, "Sport", 0.06, (("S", "Sport", 1.0, "S"),)),
)  # fmt: skip

# Name, product group, garment group, who sells it (see above), price in euro, appeal (log), month of its
# season and how much of a season it has (log, 0 = all year).
PRODUCT_TYPES = (
    ("T-shirt", "Garment Upper body", "Jersey Basic", "LMKS", 9.99, 0.9, 6.5, 0.4),
    ("Vest top", "Garment Upper body", "Jersey Basic", "LMKS", 7.99, 0.8, 6.8, 0.8),
    ("Bodysuit", "Garment Upper body", "Jersey Basic", "LK", 12.99, 0.1, 6.0, 0.1),
    ("Top", "Garment Upper body", "Jersey Fancy", "LKS", 14.99, 0.8, 6.0, 0.4),
    ("Blouse", "Garment Upper body", "Blouses", "L", 24.99, 0.5, 5.0, 0.3),
    ("Shirt", "Garment Upper body", "Shirts", "LMK", 24.99, 0.2, 5.0, 0.3),
    ("Polo shirt", "Garment Upper body", "Shirts", "MK", 14.99, -0.4, 6.0, 0.7),
    ("Sweater", "Garment Upper body", "Knitwear", "LMK", 29.99, 0.9, 11.0, 1.0),
    ("Cardigan", "Garment Upper body", "Knitwear", "LMK", 29.99, 0.3, 10.5, 0.7),
    ("Hoodie", "Garment Upper body", "Jersey Fancy", "LMKS", 24.99, 0.4, 10.5, 0.6),
    ("Blazer", "Garment Upper body", "Dressed", "LM", 49.99, 0.0, 9.5, 0.4),
    ("Jacket", "Garment Upper body", "Outdoor", "LMKS", 49.99, 0.1, 10.0, 0.8),
    ("Coat", "Garment Upper body", "Outdoor", "LMK", 79.99, -0.3, 10.8, 1.3),
    ("Outdoor waistcoat", "Garment Upper body", "Outdoor", "LMS", 39.99, -1.0, 10.0, 0.8),
    ("Trousers", "Garment Lower body", "Trousers", "LMKS", 29.99, 1.0, 9.5, 0.2),
    ("Jeans", "Garment Lower body", "Trousers Denim", "LMK", 39.99, 0.7, 9.5, 0.3),
    ("Leggings", "Garment Lower body", "Jersey Basic", "LKS", 12.99, 0.4, 10.5, 0.4),
    ("Joggers", "Garment Lower body", "Jersey Fancy", "LMKS", 19.99, 0.1, 10.5, 0.4),
    ("Shorts", "Garment Lower body", "Shorts", "LMKS", 17.99, 0.3, 6.5, 1.5),
    ("Skirt", "Garment Lower body", "Skirts", "LK", 19.99, 0.2, 6.0, 0.5),
    ("Dress", "Garment Full body", "Dresses", "LK", 34.99, 1.0, 6.3, 0.8),
    ("Jumpsuit", "Garment Full body", "Dresses", "LK", 39.99, -0.3, 6.3, 0.8),
    ("Dungarees", "Garment Full body", "Trousers Denim", "LK", 34.99, -1.0, 5.0, 0.3),
    ("Pyjama set", "Nightwear", "Under-/Nightwear", "UK", 24.99, 0.1, 11.5, 0.7),
    ("Nightdress", "Nightwear", "Under-/Nightwear", "U", 19.99, -0.6, 11.0, 0.3),
    ("Bra", "Underwear", "Under-/Nightwear", "US", 19.99, 0.7, 3.0, 0.1),
    ("Briefs", "Underwear", "Under-/Nightwear", "UMK", 9.99, 0.6, 3.0, 0.1),
    ("Boxers", "Underwear", "Under-/Nightwear", "MK", 19.99, 0.0, 11.0, 0.2),
    ("Bikini top", "Swimwear", "Swimwear", "U", 17.99, 0.6, 6.3, 2.0),
    ("Bikini bottom", "Swimwear", "Swimwear", "U", 12.99, 0.6, 6.3, 2.0),
    ("Swimsuit", "Swimwear", "Swimwear", "UK", 29.99, 0.1, 6.3, 2.0),
    ("Swim shorts", "Swimwear", "Swimwear", "MK", 17.99, -0.2, 6.4, 2.0),
    ("Socks", "Socks & Tights", "Socks and Tights", "UMKS", 6.99, 0.2, 10.8, 0.5),
    ("Tights", "Socks & Tights", "Socks and Tights", "UKS", 9.99, 0.0, 10.8, 1.2),
    ("Bag", "Accessories", "Accessories", "XM", 19.99, 0.1, 6.0, 0.2),
    ("Belt", "Accessories", "Accessories", "XM", 12.99, -0.4, 8.0, 0.1),
    ("Hat", "Accessories", "Accessories", "XMK", 12.99, -0.4, 6.5, 0.9),
    ("Beanie", "Accessories", "Accessories", "XMK", 9.99, -0.3, 11.5, 1.7),
    ("Scarf", "Accessories", "Accessories", "XM", 14.99, -0.3, 11.3, 1.4),
    ("Sunglasses", "Accessories", "Accessories", "XM", 9.99, -0.2, 6.3, 1.0),
    ("Earrings", "Accessories", "Accessories", "X", 6.99, 0.1, 12.0, 0.2),
    ("Necklace", "Accessories", "Accessories", "X", 9.99, -0.2, 12.0, 0.2),
    ("Hair clip", "Accessories", "Accessories", "XK", 4.99, 0.0, 6.0, 0.2),
    ("Sneakers", "Shoes", "Shoes", "XMK", 29.99, 0.1, 5.5, 0.3),
    ("Boots", "Shoes", "Shoes", "XMK", 49.99, 0.0, 10.3, 1.4),
    ("Sandals", "Shoes", "Shoes", "XK", 24.99, 0.1, 6.2, 1.7),
    ("Pumps", "Shoes", "Shoes", "X", 34.99, -0.5, 5.0, 0.2),
)

# Colour group, perceived value, perceived master, share of articles, appeal (log).
COLOURS = (
    ("Black", "Dark", "Black", 20, 0.7), ("White", "Light", "White", 10, 0.4),
    ("Off White", "Dusty Light", "White", 6, 0.2), ("Dark Blue", "Dark", "Blue", 10, 0.2),
    ("Blue", "Medium Dusty", "Blue", 6, 0.0), ("Light Blue", "Dusty Light", "Blue", 6, 0.1),
    ("Dark Grey", "Dark", "Grey", 4, -0.1), ("Grey", "Medium Dusty", "Grey", 5, 0.0),
    ("Light Grey", "Dusty Light", "Grey", 3, -0.1), ("Light Pink", "Dusty Light", "Pink", 6, 0.1),
    ("Pink", "Bright", "Pink", 3, -0.3), ("Dark Pink", "Medium Dusty", "Pink", 1.5, -0.3),
    ("Red", "Bright", "Red", 4, 0.0), ("Dark Red", "Dark", "Red", 3, -0.1),
    ("Beige", "Medium Dusty", "Beige", 4, 0.3), ("Light Beige", "Dusty Light", "Beige", 4, 0.4),
    ("Brown", "Dark", "Brown", 2, -0.1), ("Rust", "Medium", "Brown", 1, -0.2),
    ("Khaki Green", "Dark", "Green", 3, 0.1), ("Green", "Bright", "Green", 2, -0.3),
    ("Light Green", "Dusty Light", "Green", 1.5, -0.1), ("Turquoise", "Bright", "Turquoise", 1, -0.5),
    ("Yellow", "Bright", "Yellow", 2, -0.3), ("Mustard", "Medium", "Yellow", 1.5, -0.1),
    ("Orange", "Bright", "Orange", 1.5, -0.5), ("Lilac", "Dusty Light", "Lilac", 1.5, -0.1),
    ("Purple", "Medium", "Lilac", 1, -0.5), ("Gold", "Medium Dusty", "Metal", 1.5, -0.2),
    ("Silver", "Dusty Light", "Metal", 1, -0.4), ("Multi", "Bright", "Unknown", 0.5, -0.8),
)  # fmt: skip

# Pattern, share, appeal (log).
APPEARANCES = (
    ("Solid", 50, 0.4), ("All over pattern", 14, 0.0), ("Melange", 6, 0.1), ("Stripe", 6, 0.0),
    ("Front print", 5, -0.2), ("Placement print", 4, -0.3), ("Check", 3, -0.1), ("Lace", 2, 0.0),
    ("Denim", 3, 0.3), ("Dot", 2, -0.1), ("Colour blocking", 2, -0.5), ("Jacquard", 1, -0.2),
    ("Embroidery", 1, -0.4), ("Glittering", 1, -0.5),
)  # fmt: skip

# Lines of an index: suffix of its departments' names, section, share, price factor.
LINES = (
    ("", "Everyday", 0.40, 1.0),
    ("Basics", "Essentials", 0.25, 0.75),
    ("Trend", "Trend", 0.20, 1.15),
    ("Premium", "Premium & Tailoring", 0.15, 1.7),
)

NAMES = (
    "Alma", "Bea", "Cleo", "Dagny", "Edda", "Fia", "Greta", "Hilde", "Ines", "Juni", "Kaia", "Liv",
    "Mira", "Nell", "Odda", "Pia", "Runa", "Signe", "Tuva", "Una", "Vera", "Wilma", "Ylva", "Zelda",
    "Aksel", "Birk", "Dane", "Emil", "Finn", "Gus", "Hugo", "Isak", "Jon", "Kit", "Leif", "Milo", "Nils",
    "Otto", "Per", "Rolf", "Sten", "Tor", "Ulf", "Viggo", "Coast", "Harbour", "Meadow", "Ember", "Cedar",
    "Willow", "Pebble", "Dune", "Frost", "Harvest", "Linden", "Orchard", "Breeze", "Canyon", "River",
    "Maple",
)  # fmt: skip
FABRICS = {
    "Knitwear": ("a soft rib knit", "a fine knit with some wool", "a cable knit", "a fluffy bouclé knit"),
    "Trousers Denim": ("washed stretch denim", "rigid cotton denim", "soft, light denim"),
    "Outdoor": ("a wind-resistant weave", "a padded weave", "a wool blend", "faux leather"),
    "Swimwear": ("fast-drying fabric", "ribbed, lined fabric", "recycled nylon"),
    "Accessories": ("metal and glass", "imitation leather", "a soft weave", "cotton canvas"),
    "Shoes": ("imitation suede", "imitation leather", "cotton canvas"),
    "Dresses": ("airy viscose", "crêpe", "pleated satin", "cotton poplin", "lace with a lining"),
    "": (
        "cotton jersey",
        "an airy weave",
        "soft sweatshirt fabric",
        "a linen blend",
        "organic cotton",
        "lyocell",
    ),
}
DETAILS = {
    "Garment Lower body": ("side pockets", "an elasticated waist", "a hidden zip", "a tie belt",
                           "back pockets", "a wide hem", "a button fly", "pleats at the front",
                           "contrasting edges", "a high waist"),
    "Accessories": ("contrasting edges", "a small logo", "a metal clasp", "a rounded shape",
                    "decorative seams", "an adjustable fastening", "a matte finish"),
    "Shoes": ("a padded edge", "lacing at the front", "a rubber sole", "a block heel", "a loop at the back",
              "decorative seams", "an elastic panel"),
    "": ("a round neckline", "a V-neck", "a wide hem", "a hidden zip", "a tie belt", "covered buttons",
         "gathered seams", "a small logo", "adjustable straps", "a slit at the back", "contrasting edges",
         "flounces", "a concealed fastening"),
}  # fmt: skip
ENDINGS = (
    "Made partly of recycled material.", "Soft brushed inside.", "Lined.", "Unlined.",
    "A season's favourite.", "Goes with everything.", "Comes in several colours.", "", "",
)  # fmt: skip

_NO_DESCRIPTION = 0.005


@dataclass(frozen=True)
class Catalogue:
    """The rows of articles.csv, sorted by article_id, and arrays [articles] in their order.

    The arrays are codes that index the vocabulary (department and section number themselves), and price in
    euro.
    """

    table: pa.Table
    index_group: np.ndarray
    index: np.ndarray
    product_type: np.ndarray
    garment_group: np.ndarray
    department: np.ndarray
    section: np.ndarray
    colour: np.ndarray
    appearance: np.ndarray
    price: np.ndarray


def draw(rng: np.random.Generator, count: int) -> Catalogue:
    """Draws a catalogue of `count` articles."""
    variants = rng.geometric(0.45, size=count).clip(max=20)  # more products than needed; the cut is below
    product = np.repeat(np.arange(count), variants)[:count]
    variant = np.arange(count) - np.searchsorted(product, product)
    n = int(product[-1]) + 1
    groups, indexes = _draw_index(rng, n)
    types = _draw_type(rng, indexes)
    lines = rng.choice(len(LINES), size=n, p=_shares([line[2] for line in LINES]))
    colour, appearance = _draw_look(rng, product)
    garments, garment = np.unique([PRODUCT_TYPES[t][2] for t in types], return_inverse=True)
    department = (indexes * len(garments) + garment) * len(LINES) + lines
    section = indexes * len(LINES) + lines
    codes = 100_000 + np.sort(rng.choice(899_999, size=n, replace=False))
    base = np.array([row[4] for row in PRODUCT_TYPES])[types] * np.array([line[3] for line in LINES])[lines]
    base *= np.where(groups == 3, 0.6, 1.0) * np.exp(rng.normal(0, 0.2, n))
    price = np.maximum(np.round(base), 2) - 0.01
    rows = {
        "group": groups, "index": indexes, "type": types, "line": lines,
        "garment": garment, "department": department, "section": section,
    }  # fmt: skip
    rows = {name: values[product] for name, values in rows.items()}
    words = _words(rng, types, garments[garment], n)
    return Catalogue(
        table=_table(rng, rows, codes[product], variant, product, colour, appearance, words),
        index_group=rows["group"], index=rows["index"],
        product_type=rows["type"], garment_group=rows["garment"],
        department=np.unique(rows["department"], return_inverse=True)[1], section=rows["section"],
        colour=colour, appearance=appearance, price=price[product],
    )  # fmt: skip


def _shares(weights: list[float]) -> np.ndarray:
    """Weights as probabilities."""
    weights = np.asarray(weights, dtype=float)
    return weights / weights.sum()


# All indexes in one list: (index group's position, code, name, share of all, who).
INDEXES = tuple(
    (position, code, name, share * group_share, sells)
    for position, (_, _, group_share, indexes) in enumerate(INDEX_GROUPS)
    for code, name, share, sells in indexes
)


def _draw_index(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Index group and index of n products."""
    index = rng.choice(len(INDEXES), size=n, p=_shares([row[3] for row in INDEXES]))
    return np.array([row[0] for row in INDEXES])[index], index


def _draw_type(rng: np.random.Generator, indexes: np.ndarray) -> np.ndarray:
    """A product type that the product's index sells; types that are bought more have more products, too."""
    result = np.empty(len(indexes), dtype=int)
    for i, row in enumerate(INDEXES):
        here = np.flatnonzero(indexes == i)
        sold = [t for t, kind in enumerate(PRODUCT_TYPES) if set(kind[3]) & set(row[4])]
        shares = _shares([np.exp(0.8 * PRODUCT_TYPES[t][5]) for t in sold])
        result[here] = rng.choice(sold, size=len(here), p=shares)
    return result


def _draw_look(rng: np.random.Generator, product: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Colour and pattern of each article; a pattern is mostly shared by the product's variants."""
    colour = rng.choice(len(COLOURS), size=len(product), p=_shares([row[3] for row in COLOURS]))
    shares = _shares([row[1] for row in APPEARANCES])
    shared = rng.choice(len(APPEARANCES), size=product[-1] + 1, p=shares)[product]
    own = rng.choice(len(APPEARANCES), size=len(product), p=shares)
    return colour, np.where(rng.random(len(product)) < 0.15, own, shared)


def _words(
    rng: np.random.Generator, types: np.ndarray, garments: np.ndarray, n: int
) -> list[tuple[str, str]]:
    """Name and description of each product; a few have no description, as in real catalogues."""
    name, ending = rng.integers(len(NAMES), size=n), rng.integers(len(ENDINGS), size=n)
    first, second = rng.integers(1000, size=n), rng.integers(1000, size=n)
    cloth, number, empty = rng.integers(1000, size=n), rng.random(n), rng.random(n)
    result = []
    for i in range(n):
        kind, group = PRODUCT_TYPES[types[i]][:2]
        choice = DETAILS.get(group, DETAILS[""])
        one, other = first[i] % len(choice), second[i] % (len(choice) - 1)
        details = f"{choice[one]} and {choice[other + (other >= one)]}"  # two different ones
        fabrics = FABRICS.get(garments[i], FABRICS[""])
        text = f"{kind} in {fabrics[cloth[i] % len(fabrics)]} with {details}. {ENDINGS[ending[i]]}".rstrip()
        title = f"{NAMES[name[i]]} {kind.lower()}" + (" (2)" if number[i] < 0.1 else "")
        result.append((title, "" if empty[i] < _NO_DESCRIPTION else text))
    return result


def _table(rng, rows, codes, variant, product, colour, appearance, words) -> pa.Table:
    """The columns of articles.csv; numbers and codes are positions in the vocabulary."""

    def names(table, position: int, codes: np.ndarray) -> pa.Array:
        return pa.array([row[position] for row in table]).take(pa.array(codes))

    def numbers(base: int, codes: np.ndarray) -> pa.Array:
        return pa.array(base + codes)

    type_groups, type_group = _distinct(PRODUCT_TYPES, 1)
    values, value = _distinct(COLOURS, 1)
    masters, master = _distinct(COLOURS, 2)
    section = [f"{INDEXES[s // len(LINES)][2]} {LINES[s % len(LINES)][1]}" for s in rows["section"]]
    department = [
        f"{INDEXES[i][2].split(' Sizes')[0]} {PRODUCT_TYPES[t][2]} {LINES[line][0]}".strip()
        for i, t, line in zip(rows["index"], rows["type"], rows["line"], strict=True)
    ]
    group_numbers = np.array([row[0] for row in INDEX_GROUPS])
    columns = {
        "article_id": pa.array([f"{code:07d}{v + 1:03d}" for code, v in zip(codes, variant, strict=True)]),
        "product_code": pa.array([f"{code:07d}" for code in codes]),
        "prod_name": pa.array([words[p][0] for p in product]),
        "product_type_no": numbers(250, rows["type"]),
        "product_type_name": names(PRODUCT_TYPES, 0, rows["type"]),
        "product_group_name": pa.array(type_groups).take(pa.array(type_group[rows["type"]])),
        "graphical_appearance_no": numbers(1010001, appearance),
        "graphical_appearance_name": names(APPEARANCES, 0, appearance),
        "colour_group_code": numbers(1, colour),
        "colour_group_name": names(COLOURS, 0, colour),
        "perceived_colour_value_id": numbers(1, value[colour]),
        "perceived_colour_value_name": pa.array(values).take(pa.array(value[colour])),
        "perceived_colour_master_id": numbers(1, master[colour]),
        "perceived_colour_master_name": pa.array(masters).take(pa.array(master[colour])),
        "department_no": numbers(1200, rows["department"]),
        "department_name": pa.array(department),
        "index_code": names(INDEXES, 1, rows["index"]),
        "index_name": names(INDEXES, 2, rows["index"]),
        "index_group_no": pa.array(group_numbers[rows["group"]]),
        "index_group_name": names(INDEX_GROUPS, 1, rows["group"]),
        "section_no": numbers(10, rows["section"]),
        "section_name": pa.array(section),
        "garment_group_no": numbers(1001, rows["garment"]),
        "garment_group_name": names(PRODUCT_TYPES, 2, rows["type"]),
        "detail_desc": pa.array([words[p][1] for p in product]),
    }
    return pa.table({name: columns[name] for name in schema.ARTICLE_CSV_COLUMNS})


def _distinct(table, position: int) -> tuple[list[str], np.ndarray]:
    """The distinct names at `position`, and for each row of `table` the number of its name."""
    names, codes = np.unique([row[position] for row in table], return_inverse=True)
    return names.tolist(), codes


def colour_masters() -> np.ndarray:
    """Number of the master colour of each of COLOURS."""
    return _distinct(COLOURS, 2)[1]
