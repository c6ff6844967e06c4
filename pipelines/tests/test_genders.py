"""Whom a section's articles are offered to."""

import pyarrow as pa
import pyarrow.csv
import pytest

from hemline import genders, schema

WOMEN, MEN, BOTH, NEITHER = ({"women"}, {"men"}, {"women", "men"}, set())


def articles(*rows):
    """A table of (section, index, index group, product type)."""
    names = (*genders.NAMES, "product_type_name")
    return pa.Table.from_pylist([dict(zip(names, row, strict=True)) for row in rows])


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (("Womens Casual", "Ladieswear", "Ladieswear"), WOMEN),
        (("Mama", "Ladieswear", "Ladieswear"), WOMEN),
        (("H&M+", "Ladieswear", "Ladieswear"), WOMEN),
        (("Contemporary Street", "Menswear", "Menswear"), MEN),
        (("Denim Men", "Menswear", "Menswear"), MEN),
        (("Men H&M Sport", "Sport", "Sport"), MEN),
        (("Ladies H&M Sport", "Sport", "Sport"), WOMEN),
        (("Kids Sports", "Sport", "Sport"), NEITHER),
        (("Ladies Denim", "Divided", "Divided"), WOMEN),
        (("Young Girl", "Children Sizes 134-170", "Baby/Children"), NEITHER),
        (("Swimwear", "Children Accessories, Swimwear", "Baby/Children"), NEITHER),
        (("Women and Men Basics", "Basics", "Basics"), BOTH),
        (("Mentor", "Womble", "Kidney Babylon"), None),
        (("Divided Basics", "Divided", "Divided"), None),
    ],
)
def test_the_most_telling_name_says_whom_a_section_is_for(names, told):
    assert genders.of_names(names) == told


def test_where_no_name_tells_the_garments_of_the_index_group_do():
    divided = [("Divided Basics", "Divided", "Divided", "T-shirt")] * 8
    divided += [("Divided Collection", "Divided", "Divided", "Dress")]
    sport = [("Sport Basics", "Sport", "Sport", "Leggings")] * 20 + [
        ("Sport Basics", "Sport", "Sport", "Skirt")
    ]
    assert genders.of_articles(articles(*divided, *sport)) == {
        "women": ["Divided Basics", "Divided Collection", "Sport Basics"],
        "men": ["Sport Basics"],
    }


def test_a_section_of_two_indexes_is_for_whom_most_of_its_articles_are():
    row = ("Shoes", "Menswear", "Menswear", "Boots")
    other = ("Shoes", "Ladieswear", "Ladieswear", "Boots")
    assert genders.of_articles(articles(row, row, other)) == {"women": [], "men": ["Shoes"]}


def test_sections_of_h_and_m_are_told_apart(hm_data):
    sections = genders.of_articles(pyarrow.csv.read_csv(hm_data / schema.ARTICLES_CSV))
    women, men = (set(sections[gender]) for gender in ("women", "men"))
    assert not women & men
    assert {"Womens Lingerie", "Divided Collection", "H&M+", "Ladies H&M Sport", "Collaborations"} <= women
    assert {"Contemporary Smart", "Denim Men", "Men H&M Sport", "Mens Outerwear"} <= men
    assert not {s for s in women | men if "Kids" in s or "Baby" in s or "Girl" in s or "Boy" in s}
